/// `fieldseal.WaitForWork`: a router asks for work, and the service answers when there is some, or after a while.
///
/// It also says that the router is alive, and which mailboxes it watches. Each request has all of them, so a request that is lost
/// costs one wait and nothing else.
public enum WaitForWork {
    /// What a router sends.
    public struct Request: Codable, Sendable {
        /// The router's own name, the same as long as it runs.
        public var hostId: String
        /// Seconds to wait at most. 0 asks what there is now.
        public var seconds: Int
        /// Whether the router has a worker that is free. Without one it asks for changes of watched mailboxes alone.
        public var wantsWork: Bool
        /// Mailboxes on whose servers it waits for new messages.
        public var watching: [Watched]
        /// Whether the router ends: others poll its mailboxes from now on.
        public var isLeaving: Bool

        public init(
            hostId: String, seconds: Int, wantsWork: Bool = true, watching: [Watched] = [], isLeaving: Bool = false
        ) {
            (self.hostId, self.seconds, self.wantsWork) = (hostId, seconds, wantsWork)
            (self.watching, self.isLeaving) = (watching, isLeaving)
        }
    }

    /// A mailbox that a router watches.
    public struct Watched: Codable, Sendable {
        public var mailboxId: String
        /// ``MailboxLease/revision`` of the lease under which the router signed in.
        public var revision: String

        public init(mailboxId: String, revision: String) { (self.mailboxId, self.revision) = (mailboxId, revision) }
    }

    /// What the service answers.
    public struct Answer: Codable, Sendable {
        /// Mailboxes that are due, counted up to ``dueLimit``.
        public var due: Int
        /// Watched mailboxes that the router has to leave: their settings or credentials changed, or another router has them.
        public var ended: [String]

        /// Due mailboxes that are counted.
        public static let dueLimit = 200

        public init(due: Int, ended: [String]) { (self.due, self.ended) = (due, ended) }
    }
}
