import CellCrypto
import Crypto
package import Foundation
import JSON

/// Whether an e-mail becomes a record, and the reason (Dataverse's ReasonCode).
package struct IncomingVerdict: Sendable, Equatable {
    package let isDelivered: Bool
    package let reason: Reason
    /// The e-mail that the incoming one answers.
    package var parent: UUID?
    package var correlation = Correlation.none
    /// Whether the record lacks a part of the message, so that the message must stay on the mail server.
    package var isIncomplete = false

    /// The reasons, with Dataverse's numbers.
    package enum Reason: Int, Sendable {
        case unknown = -1
        case duplicate = 0
        case tokenUnmatched = 1
        case tokenMatched = 2
        case noRecipient = 3
        case ownMessage = 4
        case senderAccepted = 5
        case recipientAcceptsAll = 6
        case badSender = 7
    }

    /// How the e-mail was found that an incoming one answers (`email.correlationmethod`).
    package enum Correlation: Int, Sendable {
        case none = 0
        case inReplyTo = 3
        case trackingToken = 4
        case smartMatching = 6
    }
}
