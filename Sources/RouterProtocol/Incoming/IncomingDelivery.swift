/// `fieldseal.DeliverIncomingEmails`: a router delivers e-mails of a leased mailbox, and learns which became records.
package enum IncomingDelivery {
    /// How many e-mails one request has at most.
    package static let limit = 100
    /// How many bytes of e-mails a router gathers for one request. A larger e-mail is sent alone.
    package static let sizeLimit = 2 << 20

    /// The router's request.
    package struct Request: Encodable, Sendable {
        package var mailboxId: String
        package var hostId: String
        package var emails: [Email]

        package init(mailboxId: String, hostId: String, emails: [Email]) {
            (self.mailboxId, self.hostId, self.emails) = (mailboxId, hostId, emails)
        }

        enum CodingKeys: String, CodingKey {
            case mailboxId = "MailboxId"
            case hostId = "HostId"
            case emails = "Emails"
        }
    }

    /// A parsed message.
    package struct Email: Encodable, Sendable {
        package var messageId = ""
        package var subject = ""
        package var from = ""
        package var to: [String] = []
        package var cc: [String] = []
        /// The addresses in Reply-To, to which the author wants replies to be sent.
        package var replyTo: [String] = []
        /// The sender's display name; nil for none.
        package var fromName: String?
        /// The display names of the addresses in To and in Cc: a name or nil for each address. Nil if no address has a name.
        package var toNames: [String?]?
        package var ccNames: [String?]?
        /// The Message-IDs of e-mails that this e-mail may answer, the likeliest first.
        package var inReplyTo: [String] = []
        package var references: [String] = []
        /// Low, Normal or High.
        package var importance = "Normal"
        package var body = ""
        /// `text/html` or `text/plain`.
        package var bodyType = "text/plain"
        /// SHA-256 over the message's bytes, in base64.
        package var digest = ""
        /// How many attachments the router left out.
        package var omittedAttachments = 0
        package var bodyIsCut = false
        /// The time of receipt in ISO 8601.
        package var receivedOn: String?
        package var attachments: [Attachment]?

        package init() {}

        enum CodingKeys: String, CodingKey {
            case messageId = "MessageId"
            case subject = "Subject"
            case from = "From"
            case to = "To"
            case cc = "Cc"
            case replyTo = "ReplyTo"
            case fromName = "FromName"
            case toNames = "ToNames"
            case ccNames = "CcNames"
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

    /// An attachment: a part of the message other than its text.
    package struct Attachment: Encodable, Sendable {
        package var fileName: String
        package var mimeType: String
        /// The file's bytes in base64.
        package var body: String
        /// Set for a file that the router added: the original message, its header, or a list of files that were left out. The note
        /// says why the file was added. Nil for the message's own attachments.
        package var note: String?
        /// The Content-ID by which the e-mail's HTML refers to the attachment; nil for none.
        package var contentId: String?

        package init(fileName: String, mimeType: String, body: String, note: String? = nil, contentId: String? = nil) {
            (self.fileName, self.mimeType, self.body, self.note) = (fileName, mimeType, body, note)
            self.contentId = contentId
        }

        enum CodingKeys: String, CodingKey {
            case fileName = "FileName"
            case mimeType = "MimeType"
            case body = "Body"
            case note = "Note"
            case contentId = "ContentId"
        }
    }

    /// The service's response: a verdict for each e-mail, in order.
    package struct Answer: Codable, Sendable {
        package var value: [Verdict]

        package init(value: [Verdict]) { self.value = value }
    }

    /// Whether an e-mail became a record.
    package struct Verdict: Codable, Sendable {
        package var shouldDeliver: Bool
        /// Dataverse's reason code.
        package var reasonCode: Int
        package var emailId: String?
        /// True if the record lacks a part of the message, so that the message must stay on the mail server. Nil if the service is
        /// an earlier version, which does not report this.
        package var isIncomplete: Bool?

        package init(shouldDeliver: Bool, reasonCode: Int, emailId: String?, isIncomplete: Bool) {
            (self.shouldDeliver, self.reasonCode, self.emailId) = (shouldDeliver, reasonCode, emailId)
            self.isIncomplete = isIncomplete
        }

        enum CodingKeys: String, CodingKey {
            case shouldDeliver = "ShouldDeliver"
            case reasonCode = "ReasonCode"
            case emailId = "EmailId"
            case isIncomplete = "IsIncomplete"
        }
    }
}
