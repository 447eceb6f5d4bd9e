/// The response to `fieldseal.LeaseMailbox`: a mailbox that a router works on until the router returns the mailbox, or the lease
/// expires.
package struct MailboxLease: Codable, Sendable {
    package var mailboxId: String
    package var name: String
    package var address: String
    /// True for a forward mailbox. The e-mails to deliver are attachments of the messages that arrive in the mailbox.
    package var isForward: Bool
    /// What the router does in this turn: fetch, send, or test the directions that are not enabled yet.
    package var receives: Bool
    package var sends: Bool
    package var tests: Bool
    /// Whether the mailbox has a delivery method for incoming mail, and for outgoing mail. A test tries only directions with a
    /// delivery method.
    package var usesIncoming: Bool?
    package var usesOutgoing: Bool?
    /// 0 is Exchange, 1 is POP3/SMTP, 4 is IMAP/SMTP. The router uses Exchange by IMAP/SMTP too.
    package var serverType: Int
    package var deletesAfterProcessing: Bool
    /// A time in ISO 8601. Messages that were received before this time are ignored.
    package var processesReceivedAfter: String?
    /// The time limit in seconds for the mail server's responses.
    package var timeout: Int
    /// The state that the router wrote at the end of the last turn.
    package var routerState: String?
    /// The folder to which undeliverable messages are moved; nil if they stay.
    package var undeliverableFolder: String?
    /// The size in bytes up to which a record keeps an attachment.
    package var attachmentLimit: Int
    /// Messages that could not be fetched before and are due again.
    package var setAside: [String]?
    /// A value that changes whenever a setting or a credential of the mailbox changes.
    package var revision: String

    package init(
        mailboxId: String, name: String, address: String, isForward: Bool, work: Work,
        serverType: Int, deletesAfterProcessing: Bool, processesReceivedAfter: String?, timeout: Int, routerState: String?,
        undeliverableFolder: String?, attachmentLimit: Int, setAside: [String]?, revision: String
    ) {
        (self.mailboxId, self.name, self.address, self.isForward) = (mailboxId, name, address, isForward)
        (receives, sends, tests) = (work.contains(.receiving), work.contains(.sending), work.contains(.testing))
        self.serverType = serverType
        (self.deletesAfterProcessing, self.processesReceivedAfter) = (deletesAfterProcessing, processesReceivedAfter)
        (self.timeout, self.routerState, self.undeliverableFolder) = (timeout, routerState, undeliverableFolder)
        (self.attachmentLimit, self.setAside, self.revision) = (attachmentLimit, setAside, revision)
    }

    /// What a router does with the mailbox.
    package struct Work: OptionSet, Sendable {
        package let rawValue: Int

        package init(rawValue: Int) { self.rawValue = rawValue }

        package static let receiving = Work(rawValue: 1)
        package static let sending = Work(rawValue: 2)
        /// Tests the directions that are not enabled yet.
        package static let testing = Work(rawValue: 4)
    }

    /// The router's request.
    package struct Request: Codable, Sendable {
        /// The router's name for this lease, new each time.
        package var hostId: String
        /// The requested mailbox; nil to lease one that is due.
        package var mailboxId: String?

        package init(hostId: String, mailboxId: String?) { (self.hostId, self.mailboxId) = (hostId, mailboxId) }
    }
}
