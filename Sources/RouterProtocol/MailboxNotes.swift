/// `fieldseal.NoteMessages`: what the service stores for a router about single messages on a mail server.
public struct MailboxNotes: Codable, Sendable {
    public var mailboxId: String
    public var hostId: String
    /// Inspected messages: unique ids of POP3.
    public var seen: [String]?
    public var setAside: [SetAside]?
    /// Messages that are no longer set aside.
    public var settled: [String]?
    /// Whether to forget earlier inspected messages first.
    public var forgetsSeen: Bool?

    public init(mailboxId: String, hostId: String) { (self.mailboxId, self.hostId) = (mailboxId, hostId) }

    /// How many messages each list has at most.
    public static let limit = 5_000

    /// A message that could not be fetched.
    public struct SetAside: Codable, Sendable {
        /// Its UID with UIDVALIDITY, or its unique id of POP3.
        public var uid: String
        /// The message's name for people.
        public var name: String?
        public var messageId: String?
        /// The mail server's words.
        public var reason: String?

        public init(uid: String, name: String, messageId: String?, reason: String) {
            (self.uid, self.name, self.messageId, self.reason) = (uid, name, messageId, reason)
        }
    }
}

/// `fieldseal.KnownMessages`: the messages of a leased mailbox that were inspected or set aside before.
public enum KnownMessages {
    /// The router's request. Without ids it only renews the lease.
    public struct Request: Codable, Sendable {
        public var mailboxId: String
        public var hostId: String
        public var ids: [String]?

        public init(mailboxId: String, hostId: String, ids: [String]) {
            (self.mailboxId, self.hostId, self.ids) = (mailboxId, hostId, ids)
        }
    }

    /// The service's response.
    public struct Answer: Codable, Sendable {
        public var value: [String]
        /// How many messages of the mailbox it knows in total.
        public var total: Int

        public init(value: [String], total: Int) { (self.value, self.total) = (value, total) }
    }
}
