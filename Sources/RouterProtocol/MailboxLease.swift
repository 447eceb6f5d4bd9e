/// The response to `fieldseal.LeaseMailbox`: a mailbox that a router works on until it returns it, or its lease expires.
public struct MailboxLease: Codable, Sendable {
    public var mailboxId: String
    public var name: String
    public var address: String
    /// Whether its messages contain the actual messages as attachments.
    public var isForward: Bool
    /// The work: fetch, send, or test directions that are not enabled yet.
    public var receives: Bool
    public var sends: Bool
    public var tests: Bool
    /// Whether the mailbox has a delivery method for a direction. A test tries no other.
    public var usesIncoming: Bool?
    public var usesOutgoing: Bool?
    /// 0 is Exchange, 1 is POP3/SMTP, 4 is IMAP/SMTP. Exchange is used with IMAP/SMTP.
    public var serverType: Int
    public var deletesAfterProcessing: Bool
    /// Older messages are ignored. ISO 8601.
    public var processesReceivedAfter: String?
    /// The time limit in seconds for the mail server's responses.
    public var timeout: Int
    /// The state that the router wrote at the end of the last turn.
    public var routerState: String?
    /// The folder to which undeliverable messages are moved; nil if they stay.
    public var undeliverableFolder: String?
    /// The largest attachment in bytes that is kept.
    public var attachmentLimit: Int
    /// Messages that could not be fetched before and are due again.
    public var setAside: [String]?
    /// Changes with every setting and credential of the mailbox.
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

    /// The router's request.
    public struct Request: Codable, Sendable {
        /// The router's name for this lease, new each time.
        public var hostId: String
        /// The requested mailbox; nil for the one that is due.
        public var mailboxId: String?

        public init(hostId: String, mailboxId: String?) { (self.hostId, self.mailboxId) = (hostId, mailboxId) }
    }
}
