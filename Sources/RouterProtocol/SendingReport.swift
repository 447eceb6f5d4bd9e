/// How far a router got with one e-mail: an element of `fieldseal.ReportEmails`.
public struct SendingReport: Codable, Sendable {
    /// How far.
    public enum Outcome: String, Codable, Sendable, CaseIterable {
        /// The mail server may get the bytes: from now on the outcome is unknown until it answers.
        case handingOver = "HandingOver"
        case sent = "Sent"
        /// Refused for now; tried again later, after 1, 2, 4, 8 … minutes, an hour at most, as often as the deployment says.
        case temporary = "Temporary"
        case permanent = "Permanent"
        /// The connection broke before the server answered to the last byte.
        case unknown = "Unknown"
    }

    public var emailId: String
    public var outcome: Outcome
    /// The mail server's words.
    public var reason: String?
    /// What an alert about it is filed under (``AlertCode``).
    public var code: Int?

    public init(emailId: String, outcome: Outcome, reason: String? = nil, code: Int? = nil) {
        (self.emailId, self.outcome, self.reason, self.code) = (emailId, outcome, reason, code)
    }

    /// What a router sends.
    public struct Request: Codable, Sendable {
        public var mailboxId: String
        public var hostId: String
        public var reports: [SendingReport]

        public init(mailboxId: String, hostId: String, reports: [SendingReport]) {
            (self.mailboxId, self.hostId, self.reports) = (mailboxId, hostId, reports)
        }

        /// Reports of one request at most.
        public static let limit = 100
    }
}
