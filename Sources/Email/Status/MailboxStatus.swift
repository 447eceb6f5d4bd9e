package import Foundation
import Model
import PostgresClient
import Records
import RouterProtocol
import Tenancy

/// The status of a mailbox that a router works on: the last success, e-mails that wait, messages that were set aside, and the
/// next turn.
package struct MailboxStatus: Sendable {
    package let id: UUID
    package let name: String
    package let address: String
    package let receives: Bool
    package let sends: Bool
    /// The outcomes of the newest attempts to fetch and to send: 0 not run, 1 success, 2 failure.
    package let incomingStatus: Int
    package let outgoingStatus: Int
    /// The router that works on the mailbox now; nil for none.
    package let leasedTo: String?
    /// The router that waits for new messages on the mail server; nil for none, and then the mailbox is polled.
    package let watchedBy: String?
    /// When a turn last succeeded.
    package let lastSync: Date?
    /// When the mailbox is due next; a mailbox that is watched is due when a message arrives.
    package let nextTurn: Date?
    /// How many turns in a row failed temporarily.
    package let failures: Int
    /// E-mails that wait to be sent, the time of the next attempt, and e-mails that were not sent.
    package let pending: Int
    package let nextSending: Date?
    package let failed: Int
    /// How many warnings and errors about the mailbox there were within a day, and the text of the newest one.
    package let alerts: Int
    package let newestAlert: String?
    /// Why no router works for the mailbox although it is enabled; nil if routers work for it or it is disabled.
    package let obstacle: Obstacle?
    /// What is wrong with the mailbox, since when, and the alert's code.
    package let error: String?
    package let errorCode: Int?
    package let errorSince: Date?
    /// How many messages could not be fetched, and the first few of them.
    package let setAside: Int
    package let messages: [SetAsideMessage]

    /// What a mailbox lacks for a router to work for it.
    package enum Obstacle: String, Sendable {
        case profile = "no profile"
        case activeProfile = "inactive profile"
        case deliveryMethod = "no delivery method"
    }

    /// A message on the mail server that could not be fetched.
    package struct SetAsideMessage: Sendable {
        /// UIDVALIDITY:UID of IMAP, or the unique id of POP3.
        package let uid: String
        package let messageID: String?
        /// The reason that the router reported, such as the mail server's response.
        package let reason: String
        package let attempts: Int
        package let nextAttempt: Date?
        package let since: Date
    }

    /// Seconds after which a due mailbox without a turn is a problem.
    private static let lateSeconds = 600.0

    /// Whether the mailbox has been due for more than ten minutes, which suggests that no router works for it. A mailbox that
    /// waits for the organization's key is not late.
    package var isLate: Bool {
        guard errorCode != AlertCode.keyRequired, receives, obstacle == nil, leasedTo == nil, watchedBy == nil, let nextTurn else {
            return false
        }
        return nextTurn < Date().addingTimeInterval(-Self.lateSeconds)
    }

    /// Whether the next turn is more than 30 days away, which no setting causes.
    package var isPostponedFar: Bool {
        receives && obstacle == nil && watchedBy == nil && nextTurn.map { $0 > Date().addingTimeInterval(Self.farSeconds) } ?? false
    }

    private static let farSeconds = 30 * 86_400.0

    /// Whether e-mails were not sent, or there were alerts within a day, such as one about a message that became no record.
    package var hasNews: Bool { failed > 0 || alerts > 0 }

    /// Whether a person should look at the mailbox.
    package var hasProblem: Bool {
        error != nil || setAside > 0 || isLate || isPostponedFar || incomingStatus == 2 && !receives
            || outgoingStatus == 2 && !sends
    }
}
