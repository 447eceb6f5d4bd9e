/// The progress of one e-mail, in `fieldseal.ReportEmails`.
package struct SendingReport: Codable, Sendable {
    /// What happened to the e-mail.
    package enum Outcome: String, Codable, Sendable, CaseIterable {
        /// The router is about to send the message. From now on the outcome is unknown until the mail server responds.
        case handingOver = "HandingOver"
        case sent = "Sent"
        /// The mail server refused the message temporarily. The message is tried again after 1, 2, 4, 8 … minutes, at most an hour
        /// apart, until the deployment's limit of attempts is reached.
        case temporary = "Temporary"
        case permanent = "Permanent"
        /// The connection broke while the message was sent, or before the mail server's final response.
        case unknown = "Unknown"
    }

    package var emailId: String
    package var outcome: Outcome
    /// The mail server's response text, or another reason for the outcome.
    package var reason: String?
    /// The code of the alert about the failure (``AlertCode``).
    package var code: Int?

    package init(emailId: String, outcome: Outcome, reason: String? = nil, code: Int? = nil) {
        (self.emailId, self.outcome, self.reason, self.code) = (emailId, outcome, reason, code)
    }

    /// The router's request.
    package struct Request: Codable, Sendable {
        package var mailboxId: String
        package var hostId: String
        package var reports: [SendingReport]

        package init(mailboxId: String, hostId: String, reports: [SendingReport]) {
            (self.mailboxId, self.hostId, self.reports) = (mailboxId, hostId, reports)
        }

        /// How many reports one request has at most.
        package static let limit = 100
    }
}
