/// The answer to `fieldseal.LeaseMailbox`: a mailbox that a router works on until it gives it back, or its lease ends.
public struct MailboxLease: Codable, Sendable {
    public var mailboxId: String
    public var name: String
    public var address: String
    /// Whether its messages carry those that they are about.
    public var isForward: Bool
    /// What is to be done: fetch, send, or test what is not enabled yet.
    public var receives: Bool
    public var sends: Bool
    public var tests: Bool
    /// Whether the mailbox has a delivery method for a direction: a test tries no other.
    public var usesIncoming: Bool?
    public var usesOutgoing: Bool?
    /// 0 Exchange, 1 POP3/SMTP, 4 IMAP/SMTP; Exchange is reached as the latter.
    public var serverType: Int
    public var deletesAfterProcessing: Bool
    /// Older messages are left alone. ISO 8601.
    public var processesReceivedAfter: String?
    /// Seconds that the mail server may take for an answer.
    public var timeout: Int
    /// What the last turn left, as the router wrote it.
    public var routerState: String?
    /// The folder that undeliverable messages are moved into; nil where they stay.
    public var undeliverableFolder: String?
    /// Bytes of an attachment that is kept.
    public var attachmentLimit: Int
    /// Messages that could not be fetched before and are due again.
    public var setAside: [String]?
    /// Changes with every setting and credential behind the mailbox.
    public var revision: String

    public init(
        mailboxId: String, name: String, address: String, isForward: Bool, receives: Bool, sends: Bool, tests: Bool,
        serverType: Int, deletesAfterProcessing: Bool, processesReceivedAfter: String?, timeout: Int, routerState: String?,
        undeliverableFolder: String?, attachmentLimit: Int, setAside: [String]?, revision: String
    ) {
        (self.mailboxId, self.name, self.address, self.isForward) = (mailboxId, name, address, isForward)
        (self.receives, self.sends, self.tests, self.serverType) = (receives, sends, tests, serverType)
        (self.deletesAfterProcessing, self.processesReceivedAfter) = (deletesAfterProcessing, processesReceivedAfter)
        (self.timeout, self.routerState, self.undeliverableFolder) = (timeout, routerState, undeliverableFolder)
        (self.attachmentLimit, self.setAside, self.revision) = (attachmentLimit, setAside, revision)
    }

    /// What a router sends.
    public struct Request: Codable, Sendable {
        /// The router's name for this lease, new each time.
        public var hostId: String
        /// The one mailbox that is wanted; nil for the one that is due.
        public var mailboxId: String?

        public init(hostId: String, mailboxId: String?) { (self.hostId, self.mailboxId) = (hostId, mailboxId) }
    }
}
