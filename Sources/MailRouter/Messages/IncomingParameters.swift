import Crypto
import Foundation
import MailFormat
import RouterProtocol

/// A message in the form that the service receives. If a record can't show all of the message, the original is attached.
struct IncomingParameters {
    /// The maximum size of all attachments of one message, in bytes.
    private static let attachmentsLimit = 8 << 20

    private(set) var content = IncomingDelivery.Email()
    /// The number of bytes that the message takes in a request.
    private(set) var size: Int
    /// The contents of the message that neither the record nor its attachments show; nil if they show everything. If ``loss`` is
    /// set, the message has to stay on the server.
    private(set) var loss: String?
    /// True if ``loss`` is set, or attachments are left out.
    private(set) var isIncomplete = false
    /// Whether the original message is attached.
    private var hasMessage = false

    /// - Parameters:
    ///   - bytes: The original message.
    ///   - arrivedOn: When the message was delivered, according to the mail server.
    ///   - attachmentLimit: The largest attachment that the organization keeps, in bytes.
    init(_ message: MailMessage, _ bytes: [UInt8], arrivedOn: Date?, attachmentLimit: Int) {
        var message = message
        let (body, isCut) = Self.cut(&message, attachmentLimit)
        size =
            body.utf8.count + Self.escapes(body)
            + (message.to + message.cc + message.replyTo).reduce(2_000) { $0 + $1.utf8.count + 10 }
        content.messageId = message.messageID
        content.subject = message.subject
        (content.from, content.to, content.cc) = (message.from, message.to, message.cc)
        content.replyTo = message.replyTo
        (content.inReplyTo, content.references) = (message.references, message.thread)
        content.fromName = message.names.from
        // Recipients beyond the limit are left out, and so are their names.
        content.toNames = Self.names(message.names.to.prefix(message.to.count))
        content.ccNames = Self.names(message.names.cc.prefix(message.cc.count))
        size += ([message.names.from] + message.names.to + message.names.cc).reduce(0) { $0 + 6 * ($1 ?? "").utf8.count + 5 }
        content.importance = message.importance
        (content.body, content.bodyType) = (body, message.isHTML ? "text/html" : "text/plain")
        content.bodyIsCut = isCut
        content.digest = Data(SHA256.hash(data: bytes)).base64EncodedString()
        content.receivedOn = (message.date ?? arrivedOn)?.ISO8601Format()
        keep(message.original(of: bytes), message.notes)
        keep(message.attachments, attachmentLimit)
    }

    /// Cuts what exceeds a record's limits, and adds a note for each cut. If the text is too large, pictures inside of it
    /// become attachments.
    ///
    /// - Returns: The body, and whether a part of the body is left out.
    private static func cut(_ message: inout MailMessage, _ attachmentLimit: Int) -> (body: String, isCut: Bool) {
        let subject = message.subject.prefix(units: IncomingLimits.subjectUnits)
        if subject != message.subject {
            message.note("The subject is longer than \(IncomingLimits.subjectUnits) characters.", isOfHeader: true)
            message.subject = message.subject.prefix(units: 5 * IncomingLimits.subjectUnits)
        }
        // One of the parties is the sender.
        let limit = IncomingLimits.parties - 1
        let count = message.to.count + message.cc.count
        if count > limit {
            message.note("It has more than \(limit) recipients, and \(count - limit) are left out.", isOfHeader: true)
            message.to = Array(message.to.prefix(limit))
            message.cc = Array(message.cc.prefix(limit - message.to.count))
        }
        guard message.body.utf8.count > IncomingLimits.bodyBytes else { return (message.body, false) }
        if message.isHTML {
            let large = LargeHTML(message.body, limit: IncomingLimits.bodyBytes)
            message.attachments += large.pictures
            let bytes = large.pictures.map(\.bytes.count)
            if !large.isCut,
                bytes.contains(where: { !LeftOutFiles.keeps($0, limit: attachmentLimit) }) || bytes.reduce(0, +) > attachmentsLimit
            {
                message.note("Pictures inside of the text are too large to be kept by themselves.", isOfHeader: false)
            }
            if large.isCut {
                message.note(
                    "The text is longer than \(IncomingLimits.bodyBytes >> 20) MiB: parts of it are left out, or without layout.",
                    isOfHeader: false)
            }
            return (large.text, large.isCut)
        }
        message.note("The text is longer than \(IncomingLimits.bodyBytes >> 20) MiB, and its end is left out.", isOfHeader: false)
        // Cuts at the beginning of a character.
        let bytes = message.body.utf8.prefix(IncomingLimits.bodyBytes)
        return (String(message.body.unicodeScalars[..<bytes.endIndex]), true)
    }

    /// The names of recipients; nil if no recipient has a name, as in most messages that programs send.
    private static func names(_ names: ArraySlice<String?>) -> [String?]? {
        names.contains { $0 != nil } ? Array(names) : nil
    }

    /// How many bytes JSON adds to a text.
    private static func escapes(_ text: String) -> Int {
        text.utf8.reduce(0) { count, byte in
            byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == UInt8(ascii: "/") ? count + 1 : count
        }
    }

    /// Attaches the original message or its header, if a record can't represent the whole message.
    private mutating func keep(_ original: MailMessage.Attachment?, _ notes: [MailMessage.Note]) {
        guard let original else { return }
        let note = notes.prefix(20).map(\.text).joined(separator: " ").prefix(units: 1_900)
        let length = (original.bytes.count + 2) / 3 * 4
        // JSON escapes slashes. In base64 one letter in 64 is a slash on average, and always fewer than one in 16.
        guard size + length + length / 16 <= IncomingLimits.requestBytes else {
            (loss, isIncomplete) = (note, true)
            return
        }
        size += length + length / 16
        hasMessage = original.type == "message/rfc822"
        content.attachments = [Self.attachment(original, note: note)]
    }

    private mutating func keep(_ attachments: [MailMessage.Attachment], _ limit: Int) {
        var total = 0
        var kept = content.attachments ?? []
        var omitted: [MailMessage.Attachment] = []
        for attachment in attachments {
            let count = attachment.bytes.count
            guard LeftOutFiles.keeps(count, limit: limit), total + count <= Self.attachmentsLimit,
                size + count * 4 / 3 + count / 12 <= IncomingLimits.requestBytes
            else {
                omitted.append(attachment)
                continue
            }
            total += count
            size += count * 4 / 3 + count / 12 + attachment.name.utf8.count * 2 + 200
            kept.append(Self.attachment(attachment))
        }
        // If the original message is attached, it contains these attachments too.
        if !omitted.isEmpty, !hasMessage {
            isIncomplete = true
            kept.append(LeftOutFiles(omitted.map { .init(name: $0.name, type: $0.type, bytes: $0.bytes.count) }).attachment)
        }
        if !kept.isEmpty { content.attachments = kept }
        content.omittedAttachments = omitted.count
    }

    private static func attachment(_ file: MailMessage.Attachment, note: String? = nil) -> IncomingDelivery.Attachment {
        .init(
            fileName: file.name, mimeType: file.type, body: Data(file.bytes).base64EncodedString(), note: note,
            contentId: file.contentID)
    }
}
