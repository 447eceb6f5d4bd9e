/// `fieldseal.NoteMessages`: what a router has the service remember of single messages on a mail server.
public struct MailboxNotes: Codable, Sendable {
    public var mailboxId: String
    public var hostId: String
    /// Messages that were looked at: unique ids of POP3.
    public var seen: [String]?
    public var setAside: [SetAside]?
    /// Messages that are not set aside any more.
    public var settled: [String]?
    /// Whether what was looked at before is forgotten first.
    public var forgetsSeen: Bool?

    public init(mailboxId: String, hostId: String) { (self.mailboxId, self.hostId) = (mailboxId, hostId) }

    /// Messages of each list at most.
    public static let limit = 5_000

    /// A message that could not be fetched.
    public struct SetAside: Codable, Sendable {
        /// Its UID with UIDVALIDITY, or its unique id of POP3.
        public var uid: String
        /// How people are told of it.
        public var name: String?
        public var messageId: String?
        /// The mail server's words.
        public var reason: String?

        public init(uid: String, name: String, messageId: String?, reason: String) {
            (self.uid, self.name, self.messageId, self.reason) = (uid, name, messageId, reason)
        }
    }
}

/// `fieldseal.KnownMessages`: which messages of a leased mailbox were looked at or set aside before.
public enum KnownMessages {
    /// What a router sends. A request without ids keeps the lease, and asks for nothing.
    public struct Request: Codable, Sendable {
        public var mailboxId: String
        public var hostId: String
        public var ids: [String]?

        public init(mailboxId: String, hostId: String, ids: [String]) {
            (self.mailboxId, self.hostId, self.ids) = (mailboxId, hostId, ids)
        }
    }

    /// What the service answers.
    public struct Answer: Codable, Sendable {
        public var value: [String]
        /// Messages of the mailbox that it knows in all.
        public var total: Int

        public init(value: [String], total: Int) { (self.value, self.total) = (value, total) }
    }
}
