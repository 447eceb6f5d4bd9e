/// An e-mail that a router is to send now: an element of the answer to `fieldseal.TakePendingEmails`.
public struct PendingEmail: Codable, Sendable {
    /// A sender or a recipient.
    public struct Person: Codable, Sendable {
        public var name: String
        public var address: String

        public init(name: String, address: String) { (self.name, self.address) = (name, address) }
    }

    /// A part that is not the text.
    public struct Attachment: Codable, Sendable {
        public var fileName: String
        public var mimeType: String
        /// Base64.
        public var body: String

        public init(fileName: String, mimeType: String, body: String) {
            (self.fileName, self.mimeType, self.body) = (fileName, mimeType, body)
        }
    }

    public var emailId: String
    public var subject: String
    public var body: String
    public var messageId: String
    public var inReplyTo: String?
    /// References of what it answers, oldest first.
    public var references: [String]
    /// `email.mimetype`; nil where the e-mail says none.
    public var bodyType: String?
    /// 0 low, 1 normal, 2 high.
    public var priority: Int
    /// ISO 8601.
    public var createdOn: String
    public var readReceiptRequested: Bool
    /// One person, in a list as the recipients are.
    public var from: [Person]
    public var to: [Person]
    public var cc: [Person]
    public var bcc: [Person]
    public var attachments: [Attachment]

    public init(
        emailId: String, subject: String, body: String, messageId: String, inReplyTo: String?, references: [String],
        bodyType: String?,
        priority: Int, createdOn: String, readReceiptRequested: Bool
    ) {
        (self.emailId, self.subject, self.body, self.messageId) = (emailId, subject, body, messageId)
        (self.inReplyTo, self.references, self.bodyType, self.priority) = (inReplyTo, references, bodyType, priority)
        (self.createdOn, self.readReceiptRequested) = (createdOn, readReceiptRequested)
        (from, to, cc, bcc, attachments) = ([], [], [], [], [])
    }
}

/// `fieldseal.TakePendingEmails`: a router takes e-mails of a leased mailbox that are due.
public enum PendingEmails {
    /// What a router sends.
    public struct Request: Codable, Sendable {
        public var mailboxId: String
        public var hostId: String
        /// E-mails at most.
        public var limit: Int

        public init(mailboxId: String, hostId: String, limit: Int) {
            (self.mailboxId, self.hostId, self.limit) = (mailboxId, hostId, limit)
        }
    }

    /// What the service answers.
    public struct Answer: Codable, Sendable {
        public var value: [PendingEmail]

        public init(value: [PendingEmail]) { self.value = value }
    }
}
