import CellCrypto
import Crypto
package import Foundation
import JSON
import Records

/// An incoming e-mail, as a router parsed it.
package struct IncomingEmail: Sendable {
    package var subject = ""
    package var from = Person("")
    package var to: [Person] = []
    package var cc: [Person] = []
    package var bcc: [Person] = []
    /// Where the author wants answers to go.
    package var replyTo: [String] = []
    package var messageID = ""
    package var inReplyTo: [String] = []
    /// The ids of References, oldest first.
    package var references: [String] = []
    package var receivedOn: Date?
    package var importance = 1
    package var body = ""
    package var bodyType = "text/plain"
    package var attachments: [Attachment] = []
    /// The account from which the e-mail was submitted, if the client names it.
    package var submittedBy: String?
    /// Whether the router cut the body.
    package var bodyIsCut = false
    /// Attachments that the router omitted, because they are too large.
    package var omittedAttachments = 0
    /// SHA-256 of the message's bytes on the mail server; ``wordsDigest`` if the bytes are unknown.
    package var digest: [UInt8] = []
    /// The digest that an earlier version of the program would have computed; nil if the caller gave ``digest``.
    package var earlierDigest: [UInt8]?

    /// A sender or recipient.
    package struct Person: Sendable {
        /// The address. For a sender without an address, the words in the address's place.
        package var address: String
        /// The display name of the address at this position.
        package var name: String?

        package init(_ address: String, _ name: String? = nil) { (self.address, self.name) = (address, name) }
    }

    /// One attachment.
    package struct Attachment: Sendable {
        package let name: String
        package let type: String?
        /// The contents in base64.
        package let body: String
        /// The size of the contents in bytes, without base64.
        package let size: Int
        /// What the record does not show, if a router added this attachment for that reason. An attachment with a note, for example
        /// the original message, is kept at any size.
        package let note: String?
        /// The `subject` of the attachment, if a client gives one.
        package let subject: String?
        /// The Content-ID by which the e-mail's HTML refers to it; nil for none.
        package let contentID: String?

        package init(
            name: String, type: String?, body: String, size: Int, note: String? = nil, subject: String? = nil,
            contentID: String? = nil
        ) {
            (self.name, self.type, self.body, self.size, self.note) = (name, type, body, size, note)
            self.subject = subject
            self.contentID = contentID
        }
    }

    package init() {}

    /// A digest of everything that a record keeps. The digest is used if the message's bytes are unknown.
    package var wordsDigest: [UInt8] {
        func list(_ words: [String]) -> [String] { ["\(words.count)"] + words }
        var words = [messageID, subject, date, body, bodyType, "\(importance)", submittedBy ?? ""]
        for people in [[from], to, cc, bcc] { words += list(people.flatMap { [$0.address, $0.name ?? ""] }) }
        for texts in [replyTo, inReplyTo, references] { words += list(texts) }
        for attachment in attachments {
            words += [
                attachment.name, attachment.type ?? "", attachment.body, attachment.subject ?? "", attachment.contentID ?? "",
            ]
        }
        return Self.digest(of: words)
    }

    /// The digest that earlier versions of the program computed, without the kinds of recipients and other members. Earlier
    /// versions derived the ids of records from this digest.
    ///
    /// - Parameter messageID: The Message-ID as those versions read it.
    package func earlierWordsDigest(messageID: String) -> [UInt8] {
        var words = [messageID, from.address, subject, date, body]
        words += (to + cc + bcc).map(\.address)
        for attachment in attachments {
            words += [attachment.name, attachment.type ?? "application/octet-stream", attachment.body]
        }
        return Self.digest(of: words)
    }

    private var date: String { receivedOn.map { ISO8601.text($0) } ?? "" }

    private static func digest(of words: [String]) -> [UInt8] {
        Array(SHA256.hash(data: Data(words.map { "\($0.utf8.count) \($0)" }.joined().utf8)))
    }

    /// The tracking token in the e-mail's subject.
    var trackingToken: String? { TrackingToken.last(in: subject) }

    /// The id of the e-mail's record: a UUIDv8 (RFC 9562 section 5.8) of organization, mailbox and message. So the same message
    /// always has the same record, by any router and under any UID.
    func recordID(organization: UUID, mailbox: UUID) -> UUID { Self.recordID(of: digest, organization, mailbox) }

    /// The id of the e-mail's record, if an earlier version of the program made it.
    func earlierRecordID(organization: UUID, mailbox: UUID) -> UUID {
        Self.recordID(of: earlierDigest ?? digest, organization, mailbox)
    }

    private static func recordID(of digest: [UInt8], _ organization: UUID, _ mailbox: UUID) -> UUID {
        var hash = SHA256()
        hash.update(data: Data("fieldseal incoming e-mail".utf8))
        hash.update(data: Data(organization.bytes + mailbox.bytes + digest))
        var bytes = Array(hash.finalize().prefix(16))
        bytes[6] = bytes[6] & 0x0F | 0x80
        bytes[8] = bytes[8] & 0x3F | 0x80
        return bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
    }
}
