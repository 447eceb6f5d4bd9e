/// An e-mail to send now, in the response to `fieldseal.TakePendingEmails`.
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
    /// The References of the e-mail that it answers, oldest first.
    public var references: [String]
    /// `email.mimetype`; nil if the e-mail has none.
    public var bodyType: String?
    /// 0 low, 1 normal, 2 high.
    public var priority: Int
    /// ISO 8601.
    public var createdOn: String
    public var readReceiptRequested: Bool
    /// One person, as a list like the recipients.
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
    /// The router's request.
    public struct Request: Codable, Sendable {
        public var mailboxId: String
        public var hostId: String
        /// How many e-mails are requested at most.
        public var limit: Int

        public init(mailboxId: String, hostId: String, limit: Int) {
            (self.mailboxId, self.hostId, self.limit) = (mailboxId, hostId, limit)
        }
    }

    /// The service's response.
    public struct Answer: Codable, Sendable {
        public var value: [PendingEmail]

        public init(value: [PendingEmail]) { self.value = value }
    }
}
