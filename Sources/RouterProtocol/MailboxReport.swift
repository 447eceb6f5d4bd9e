/// `fieldseal.ReportMailbox`: a router returns a mailbox, with a report of its turn.
public struct MailboxReport: Codable, Sendable {
    public var mailboxId: String
    public var hostId: String
    /// The position for the next turn, as the router writes it.
    public var routerState: String?
    /// The number of messages that became records, and of those that can't.
    public var processed: Int?
    public var failed: Int?
    /// Whether each direction succeeded; nil if it was not tried.
    public var incomingIsWell: Bool?
    public var outgoingIsWell: Bool?
    /// The problem that ended the turn.
    public var error: Problem?
    /// Problems of single messages.
    public var alerts: [Problem]?
    /// Seconds after which the mailbox is due again.
    public var interval: Int?
    /// Whether the turn was a test, or ends one.
    public var tests: Bool?
    /// The router that wants to wait for new messages on its connection, and the lease's revision; nil for none.
    public var watcher: String?
    public var revision: String?

    public init(mailboxId: String, hostId: String) { (self.mailboxId, self.hostId) = (mailboxId, hostId) }

    /// How many alerts one report has at most.
    public static let alertLimit = 1_000
    /// The longest ``routerState`` in bytes.
    public static let stateLimit = 1 << 19

    /// A problem of a mailbox, with advice.
    public struct Problem: Codable, Sendable {
        /// A value of ``AlertCode``.
        public var code: Int?
        public var text: String
        public var details: String?
        /// Whether the mailbox is disabled until a person acts.
        public var isPermanent: Bool?

        public init(code: Int, text: String, details: String, isPermanent: Bool) {
            (self.code, self.text, self.details, self.isPermanent) = (code, text, details, isPermanent)
        }
    }

    /// The response to a router that wants to wait for new messages on its connection.
    public struct Answer: Codable, Sendable {
        /// Whether it may wait: the mailbox did not change since the lease, and its profile allows another connection.
        public var mayWatch: Bool

        public init(mayWatch: Bool) { self.mayWatch = mayWatch }
    }
}
