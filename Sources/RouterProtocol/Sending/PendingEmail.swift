/// An e-mail to send now, in the response to `fieldseal.TakePendingEmails`.
package struct PendingEmail: Codable, Sendable {
    /// A sender or a recipient.
    package struct Person: Codable, Sendable {
        package var name: String
        package var address: String

        package init(name: String, address: String) { (self.name, self.address) = (name, address) }
    }

    /// An attachment: a part of the e-mail other than its text.
    package struct Attachment: Codable, Sendable {
        package var fileName: String
        package var mimeType: String
        /// The file's bytes in base64.
        package var body: String
        /// The Content-ID by which the e-mail's HTML refers to the attachment; nil for none.
        package var contentId: String?

        package init(fileName: String, mimeType: String, body: String, contentId: String? = nil) {
            (self.fileName, self.mimeType, self.body, self.contentId) = (fileName, mimeType, body, contentId)
        }
    }

    package var emailId: String
    package var subject: String
    package var body: String
    package var messageId: String
    package var inReplyTo: String?
    /// The References header of the e-mail that this one replies to, oldest first.
    package var references: [String]
    /// `email.mimetype`; nil if the e-mail has none.
    package var bodyType: String?
    /// 0 low, 1 normal, 2 high.
    package var priority: Int
    /// When the e-mail was created, in ISO 8601.
    package var createdOn: String
    package var readReceiptRequested: Bool
    /// The sender, as a list of one person.
    package var from: [Person]
    package var to: [Person]
    package var cc: [Person]
    package var bcc: [Person]
    package var attachments: [Attachment]

    package init(
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
