import Foundation
import MailFormat
import RouterProtocol

/// Writes an e-mail as a MIME message.
struct MessageComposer {
    let email: PendingEmail

    /// How many ids References has at most: as many as are read from incoming messages.
    private static let referencesLimit = 100

    /// The message's bytes; nil if an attachment can't be decoded, because it would be sent as an empty file.
    func bytes() -> [UInt8]? {
        var writer = MessageWriter()
        let sender = email.from.first.map { ($0.name, $0.address) } ?? ("", "")
        writer.add("From", people: [sender])
        writer.add("To", people: email.to.map { ($0.name, $0.address) })
        writer.add("Cc", people: email.cc.map { ($0.name, $0.address) })
        writer.add("Subject", text: email.subject)
        writer.add("Date", date: Date())
        writer.add("Message-ID", tokens: ["<\(Self.bare(email.messageId))>"])
        if let parent = email.inReplyTo.map(Self.bare), !parent.isEmpty {
            writer.add("In-Reply-To", tokens: ["<\(parent)>"])
            // RFC 5322 section 3.6.4: References has the parent's References, then the parent's Message-ID.
            let earlier = email.references.map(Self.bare).filter { !$0.isEmpty && $0 != parent }
            let kept = earlier.count < Self.referencesLimit ? earlier : earlier.prefix(1) + earlier.suffix(Self.referencesLimit - 2)
            writer.add("References", tokens: (kept + [parent]).map { "<\($0)>" })
        }
        if email.priority != 1 { writer.add("Importance", tokens: [email.priority == 2 ? "high" : "low"]) }
        if email.readReceiptRequested { writer.add("Disposition-Notification-To", people: [("", sender.1)]) }
        writer.add("MIME-Version", tokens: ["1.0"])
        guard !email.attachments.isEmpty else {
            addText(to: &writer)
            return writer.message
        }
        let boundary = Self.boundary()
        writer.begin(.mixed, boundary)
        writer.next(boundary)
        addText(to: &writer)
        for attachment in email.attachments {
            guard let file = Data(base64Encoded: attachment.body) else { return nil }
            writer.next(boundary)
            writer.add(
                file: file, name: attachment.fileName, type: attachment.mimeType, contentID: attachment.contentId.map(Self.bare))
        }
        writer.end(boundary)
        return writer.message
    }

    /// Adds the text. Before HTML, the same words are added as plain text: of such alternatives, the last one is preferred (RFC
    /// 2046 section 5.1.4). HTML that displays no words is added alone.
    private func addText(to writer: inout MessageWriter) {
        let plain = isHTML ? PlainText.of(html: email.body) : ""
        guard !plain.isEmpty, plain.utf8.count <= Self.longestText else { return writer.add(body: email.body, isHTML: isHTML) }
        let boundary = Self.boundary()
        writer.begin(.alternative, boundary)
        for (body, isHTML) in [(plain, false), (email.body, true)] {
            writer.next(boundary)
            writer.add(body: body, isHTML: isHTML)
        }
        writer.end(boundary)
    }

    /// The longest plain text that is sent with HTML, in bytes. A longer plain text could make the e-mail too large for its
    /// receiver.
    private static let longestText = 256 << 10

    private static func boundary() -> String { "=_\(UUID().uuidString)" }

    /// The declared type of the body. Without a declared type, a text with an HTML tag counts as HTML.
    private var isHTML: Bool {
        switch email.bodyType?.lowercased().prefix(while: { $0 != ";" }).trimmingCharacters(in: .whitespaces) {
        case "text/html"?: true
        case "text/plain"?: false
        default: HTMLTags.occur(in: email.body)
        }
    }

    private static func bare(_ id: String) -> String {
        String(
            String.UnicodeScalarView(
                id.unicodeScalars.filter { !"<> ".unicodeScalars.contains($0) && $0.value > 0x20 && $0.value != 0x7F }))
    }
}
