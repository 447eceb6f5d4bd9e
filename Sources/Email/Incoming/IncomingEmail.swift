import CellCrypto
import Crypto
package import Foundation
import JSON
import Records

/// An incoming e-mail, as a router parsed it.
package struct IncomingEmail: Sendable {
    package var subject = ""
    package var from = ""
    package var to: [String] = []
    package var cc: [String] = []
    package var bcc: [String] = []
    /// Where the author wants answers to go.
    package var replyTo: [String] = []
    /// The names beside these addresses, by the addresses in lower case.
    package var names: [String: String] = [:]
    package var messageID = ""
    package var inReplyTo: [String] = []
    /// The ids of References, oldest first.
    package var references: [String] = []
    package var receivedOn: Date?
    package var importance = 1
    package var body = ""
    package var bodyType = "text/plain"
    package var attachments: [Attachment] = []
    /// The account from which it was submitted, if the client says so.
    package var submittedBy: String?
    /// Whether the router cut the body.
    package var bodyIsCut = false
    /// Attachments that the router omitted, because they are too large.
    package var omittedAttachments = 0
    /// SHA-256 of the message's bytes on the mail server.
    package var digest: [UInt8] = []

    /// One attachment.
    package struct Attachment: Sendable {
        package let name: String
        package let type: String
        /// Base64.
        package let body: String
        /// What the record does not show, if this attachment is the original message or its header. It is kept at any size.
        package let note: String?
        /// The `subject` of the attachment, if a client gives one.
        package let subject: String?
        /// The Content-ID by which the e-mail's HTML refers to it; nil for none.
        package let contentID: String?

        package init(
            name: String, type: String, body: String, note: String? = nil, subject: String? = nil, contentID: String? = nil
        ) {
            (self.name, self.type, self.body, self.note) = (name, type, body, note)
            self.subject = subject
            self.contentID = contentID
        }
    }

    package init() {}

    /// Replaces the message's bytes if they are unknown.
    package var wordsDigest: [UInt8] {
        var words = [messageID, from, subject, receivedOn.map { ISO8601.text($0) } ?? "", body] + to + cc + bcc
        for attachment in attachments { words += [attachment.name, attachment.type, attachment.body] }
        return Array(SHA256.hash(data: Data(words.map { "\($0.utf8.count) \($0)" }.joined().utf8)))
    }

    /// The tracking token in its subject.
    var trackingToken: String? { TrackingToken.last(in: subject) }

    /// The id of its record: a UUIDv8 (RFC 9562 section 5.8) of organization, mailbox and message. So the same message always has
    /// the same record, by any router and under any UID.
    func recordID(organization: UUID, mailbox: UUID) -> UUID {
        var hash = SHA256()
        hash.update(data: Data("fieldseal incoming e-mail".utf8))
        hash.update(data: Data(organization.bytes + mailbox.bytes + digest))
        var bytes = Array(hash.finalize().prefix(16))
        bytes[6] = bytes[6] & 0x0F | 0x80
        bytes[8] = bytes[8] & 0x3F | 0x80
        return bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
    }
}
