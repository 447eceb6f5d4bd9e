/// `fieldseal.ReportMailbox`: a router returns a mailbox, with a report of its turn.
package struct MailboxReport: Codable, Sendable {
    package var mailboxId: String
    package var hostId: String
    /// The position at which the next turn continues, in a format that only the router reads.
    package var routerState: String?
    /// `processed` counts the messages that became records. `failed` counts messages that became no record because of an error, and
    /// e-mails whose sending failed or has an unknown result.
    package var processed: Int?
    package var failed: Int?
    /// Whether each direction succeeded; nil if it was not tried.
    package var incomingIsWell: Bool?
    package var outgoingIsWell: Bool?
    /// The problem that ended the turn.
    package var error: Problem?
    /// Problems of single messages.
    package var alerts: [Problem]?
    /// Seconds after which the mailbox is due again.
    package var interval: Int?
    /// Whether the turn was a test. The report of a test ends the test that was requested. Nil counts as true.
    package var tests: Bool?
    /// The name of the router and the lease's revision, if the router wants to wait for new messages on its connection. Both are
    /// nil if the router does not want to wait.
    package var watcher: String?
    package var revision: String?

    package init(mailboxId: String, hostId: String) { (self.mailboxId, self.hostId) = (mailboxId, hostId) }

    /// How many alerts one report has at most.
    package static let alertLimit = 1_000
    /// The longest ``routerState`` in bytes.
    package static let stateLimit = 1 << 19

    /// A problem of a mailbox, with advice.
    package struct Problem: Codable, Sendable {
        /// A value of ``AlertCode``.
        package var code: Int?
        package var text: String
        package var details: String?
        /// Whether the mailbox is disabled until a person acts.
        package var isPermanent: Bool?

        package init(code: Int, text: String, details: String, isPermanent: Bool) {
            (self.code, self.text, self.details, self.isPermanent) = (code, text, details, isPermanent)
        }
    }

    /// The response to a router that wants to wait for new messages on its connection.
    package struct Answer: Codable, Sendable {
        /// Whether the router may wait: the mailbox did not change since the lease, and its profile allows another connection.
        package var mayWatch: Bool

        package init(mayWatch: Bool) { self.mayWatch = mayWatch }
    }
}
