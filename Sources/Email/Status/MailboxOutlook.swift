package import Foundation
import JSON
import Model
import PostgresClient
import Records
import Tenancy

/// What routers and the service know of a mailbox in addition to its record.
package struct MailboxOutlook: Sendable {
    /// A message on the mail server that could not be fetched.
    package struct SetAside: Sendable {
        package let messageID: String?
        /// The reason that the router reported, such as the mail server's response.
        package let reason: String
        package let attempts: Int
        package let nextAttempt: Date
    }

    /// Since when a router waits for new messages on the mail server; nil if none does.
    package let watchedSince: Date?
    /// Whether a router works on the mailbox now.
    package let isWorkedOn: Bool
    /// How many e-mails are to be sent from the mailbox.
    package let waiting: Int
    /// When the first waiting e-mail is due; nil if an e-mail is due now.
    package let nextSending: Date?
    /// How many e-mails of the mailbox have the status *Failed*.
    package let failed: Int
    /// The first messages that will be fetched again.
    package let setAside: [SetAside]
    /// How many messages were set aside.
    package let setAsideCount: Int
    /// Whether any router requested work recently.
    package let hasRouter: Bool
}
