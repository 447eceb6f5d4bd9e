/// `fieldseal.DeliverIncomingEmails`: a router delivers e-mails of a leased mailbox, and learns which became records.
public enum IncomingDelivery {
    /// How many e-mails one request has at most.
    public static let limit = 100
    /// How many bytes of e-mails a router gathers for one request. A larger e-mail is sent alone.
    public static let sizeLimit = 2 << 20

    /// The router's request.
    public struct Request: Encodable, Sendable {
        public var mailboxId: String
        public var hostId: String
        public var emails: [Email]

        public init(mailboxId: String, hostId: String, emails: [Email]) {
            (self.mailboxId, self.hostId, self.emails) = (mailboxId, hostId, emails)
        }

        enum CodingKeys: String, CodingKey {
            case mailboxId = "MailboxId"
            case hostId = "HostId"
            case emails = "Emails"
        }
    }

    /// A parsed message.
    public struct Email: Encodable, Sendable {
        public var messageId = ""
        public var subject = ""
        public var from = ""
        public var to: [String] = []
        public var cc: [String] = []
        /// The Message-IDs that it may answer, the likeliest first.
        public var inReplyTo: [String] = []
        public var references: [String] = []
        /// Low, Normal or High.
        public var importance = "Normal"
        public var body = ""
        /// `text/html` or `text/plain`.
        public var bodyType = "text/plain"
        /// SHA-256 over the message's bytes, in base64.
        public var digest = ""
        /// Attachments that were left out.
        public var omittedAttachments = 0
        public var bodyIsCut = false
        /// ISO 8601.
        public var receivedOn: String?
        public var attachments: [Attachment]?

        public init() {}

        enum CodingKeys: String, CodingKey {
            case messageId = "MessageId"
            case subject = "Subject"
            case from = "From"
            case to = "To"
            case cc = "Cc"
            case inReplyTo = "InReplyTo"
            case references = "References"
            case importance = "Importance"
            case body = "Body"
            case bodyType = "BodyType"
            case digest = "Digest"
            case omittedAttachments = "OmittedAttachments"
            case bodyIsCut = "BodyIsCut"
            case receivedOn = "ReceivedOn"
            case attachments = "Attachments"
        }
    }

    /// A part that is not the text.
    public struct Attachment: Encodable, Sendable {
        public var fileName: String
        public var mimeType: String
        /// Base64.
        public var body: String
        /// What the record does not show, if the router added this attachment. Nil for the message's own.
        public var note: String?

        public init(fileName: String, mimeType: String, body: String, note: String? = nil) {
            (self.fileName, self.mimeType, self.body, self.note) = (fileName, mimeType, body, note)
        }

        enum CodingKeys: String, CodingKey {
            case fileName = "FileName"
            case mimeType = "MimeType"
            case body = "Body"
            case note = "Note"
        }
    }

    /// The service's response: a verdict for each e-mail, in order.
    public struct Answer: Codable, Sendable {
        public var value: [Verdict]

        public init(value: [Verdict]) { self.value = value }
    }

    /// Whether an e-mail became a record.
    public struct Verdict: Codable, Sendable {
        public var shouldDeliver: Bool
        /// Dataverse's reason code.
        public var reasonCode: Int
        public var emailId: String?

        public init(shouldDeliver: Bool, reasonCode: Int, emailId: String?) {
            (self.shouldDeliver, self.reasonCode, self.emailId) = (shouldDeliver, reasonCode, emailId)
        }

        enum CodingKeys: String, CodingKey {
            case shouldDeliver = "ShouldDeliver"
            case reasonCode = "ReasonCode"
            case emailId = "EmailId"
        }
    }
}
