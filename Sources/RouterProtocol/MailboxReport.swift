/// `fieldseal.ReportMailbox`: a router gives a mailbox back, with what became of it.
public struct MailboxReport: Codable, Sendable {
    public var mailboxId: String
    public var hostId: String
    /// Where the next turn goes on, as the router writes it.
    public var routerState: String?
    /// Messages that became records, and those that can't.
    public var processed: Int?
    public var failed: Int?
    /// Whether each direction was tried, and well.
    public var incomingIsWell: Bool?
    public var outgoingIsWell: Bool?
    /// Why the turn ended.
    public var error: Problem?
    /// What is to be said about single messages.
    public var alerts: [Problem]?
    /// Seconds after which the mailbox is due again.
    public var interval: Int?
    /// Whether the turn was a test, or ends one.
    public var tests: Bool?
    /// The router that would wait for new messages on its connection, and the lease's revision; nil for none.
    public var watcher: String?
    public var revision: String?

    public init(mailboxId: String, hostId: String) { (self.mailboxId, self.hostId) = (mailboxId, hostId) }

    /// Alerts of one report at most.
    public static let alertLimit = 1_000
    /// Bytes of ``routerState`` at most.
    public static let stateLimit = 1 << 19

    /// What is wrong with a mailbox, and what to do.
    public struct Problem: Codable, Sendable {
        /// ``AlertCode``.
        public var code: Int?
        public var text: String
        public var details: String?
        /// Whether the mailbox is disabled until a person did something.
        public var isPermanent: Bool?

        public init(code: Int, text: String, details: String, isPermanent: Bool) {
            (self.code, self.text, self.details, self.isPermanent) = (code, text, details, isPermanent)
        }
    }

    /// The answer to a router that would wait for new messages on its connection.
    public struct Answer: Codable, Sendable {
        /// Whether it may: the mailbox is as it was leased, and its profile allows another connection.
        public var mayWatch: Bool

        public init(mayWatch: Bool) { self.mayWatch = mayWatch }
    }
}
