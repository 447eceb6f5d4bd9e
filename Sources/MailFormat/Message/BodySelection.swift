/// Selects the text and the attachments of a message (RFC 2046 section 5.1, RFC 2183, RFC 2387).
struct BodySelection {
    /// A displayed text, plain or HTML.
    struct Segment {
        let text: String
        let isHTML: Bool

        /// What the segment displays.
        var content: HTMLText.Content {
            if isHTML { return HTMLText.content(of: text) }
            return text.unicodeScalars.contains { !$0.properties.isWhitespace && $0 != "\0" } ? .words : .nothing
        }
    }

    /// The relation of a part to the message's other parts.
    private enum Place {
        case root
        case independent
        /// The part is one of several forms of the same contents.
        case alternative
        /// The part is displayed within another part that refers to it.
        case resource
    }

    private let keepsMessages: Bool
    private let hint: String?
    private(set) var segments: [Segment] = []
    private(set) var attachments: [MailMessage.Attachment] = []
    /// Forwarded messages, each as a whole.
    private(set) var messages: [[UInt8]] = []
    /// Sentences about parts of the message that could not be represented.
    private(set) var notes: [String] = []
    /// Parts that became files. One of these parts may also be displayed if the message has no text.
    private var files: [MessagePart] = []

    init(_ root: MessagePart, keepsMessages: Bool, hint: String?) {
        (self.keepsMessages, self.hint) = (keepsMessages, hint)
        visit(root, .root)
        showFile()
        showReport()
    }

    private init(like other: BodySelection, keepsMessages: Bool? = nil) {
        (self.keepsMessages, hint) = (keepsMessages ?? other.keepsMessages, other.hint)
    }

    /// Whether the message has more than the messages that it forwards.
    var saysMore: Bool { !attachments.isEmpty || segments.contains { $0.content != .nothing } }

    private mutating func visit(_ part: MessagePart, _ place: Place) {
        if part.isEnveloped, let signed = part.children.first {
            visit(signed, place)
            // The signature is kept as a file, together with the content that it signs.
            return visitLeaf(part, .independent)
        }
        guard part.type.main == "multipart", !part.children.isEmpty else { return visitLeaf(part, place) }
        switch part.type.sub {
        case "alternative": choose(among: part.children)
        case "related": visitRelated(part)
        case "report" where keepsMessages: visitReport(part)
        default: for child in part.children { visit(child, .independent) }
        }
    }

    /// Visits a report about a message (RFC 6522). The reported message does not count as forwarded, because the report is the
    /// content for the reader.
    private mutating func visitReport(_ part: MessagePart) {
        var report = BodySelection(like: self, keepsMessages: false)
        report.visit(part, .independent)
        segments += report.segments
        files += report.files
        attachments += report.attachments
        notes += report.notes
    }

    /// Chooses one of several forms of the same contents. HTML with words is best, then a text with words. If several forms are
    /// equally good, the last form is chosen, because it is the richest. Attachments of all forms are kept. If a text is chosen,
    /// HTML that has only pictures is kept too.
    private mutating func choose(among children: [MessagePart]) {
        var forms: [(rank: Int, segments: [Segment])] = []
        for child in children {
            var form = BodySelection(like: self)
            form.visit(child, .alternative)
            files += form.files
            attachments += form.attachments
            messages += form.messages
            notes += form.notes
            if !form.segments.isEmpty { forms.append((form.rank, form.segments)) }
        }
        guard let best = forms.indices.max(by: { (forms[$0].rank, $0) < (forms[$1].rank, $1) }) else {
            // None of the forms is for people. All forms are for specialized programs.
            for child in children where Self.twins.contains(child.type.name) { visit(child, .independent) }
            return
        }
        segments += forms[best].segments
        for form in forms where form.rank == Self.rankOfPictures && forms[best].rank > form.rank {
            for segment in form.segments where segment.isHTML && segment.content == .pictures { attach(segment) }
        }
    }

    /// How much a form displays: nothing, only pictures, text, HTML.
    private var rank: Int {
        let said = segments.filter { $0.content == .words }
        if !said.isEmpty { return said.contains(where: \.isHTML) ? 3 : 2 }
        return segments.contains { $0.content == .pictures } ? Self.rankOfPictures : 0
    }

    private static let rankOfPictures = 1

    private mutating func attach(_ segment: Segment) {
        attachments.append(
            .init(
                name: AttachmentName.safe(nil, type: "text/html"), type: "text/html; charset=utf-8", bytes: Array(segment.text.utf8)
            ))
    }

    private mutating func visitRelated(_ part: MessagePart) {
        let start = part.type.value.text("start").map { $0.trimmingPrefix { $0 == "<" }.prefix { $0 != ">" } }
        let root = start.flatMap { start in part.children.firstIndex { $0.contentID.map { $0 == start } ?? false } } ?? 0
        for (index, child) in part.children.enumerated() {
            let isResource =
                index != root && (child.contentID != nil || child.header.first("content-location") != nil)
            visit(child, isResource ? .resource : .independent)
        }
    }

    private mutating func visitLeaf(_ part: MessagePart, _ place: Place) {
        if part.type.name == "message/rfc822" || part.type.name == "message/global" { return keep(message: part) }
        let isAttachment = part.disposition.word == "attachment"
        if place == .alternative, Self.twins.contains(part.type.name), !isAttachment { return }
        let name = part.fileName(hint: hint)
        let isShown = !isAttachment && place != .resource && (name == nil || place == .root || place == .alternative)
        let content = part.content
        let inline = isShown && part.type.name == "text/plain" ? InlineFiles(content) : nil
        if isShown, let segment = segment(part, inline.map { $0.text[...] } ?? content) {
            segments.append(segment)
            noteCharset(of: part, content, segment.text)
            for file in inline?.files ?? [] {
                attachments.append(
                    .init(name: AttachmentName.safe(file.name, type: Self.bytes), type: Self.bytes, bytes: file.bytes))
            }
        } else if part.isUnread {
            return
        } else if part.type.main == "multipart", !isAttachment {
            // A multipart without delimiters has no parts, so its content is the text.
            segments.append(Segment(text: text(of: part, content), isHTML: false))
        } else if keepsMessages, Self.isMessage(content, name) {
            messages.append(Array(content))
        } else {
            if Self.references.contains(part.type.name) {
                notes.append(
                    "A part of the type \(part.type.name) refers to content outside of the message. The header of the part says "
                        + "where it is."
                )
            }
            if place != .resource { files.append(part) }
            let known = name ?? part.describedName(hint: hint)
            noteBytes(ofName: known)
            let name =
                known.map { AttachmentName.safe($0, type: part.type.name) }
                ?? AttachmentName.content(id: part.contentID, type: part.type.name)
            attachments.append(.init(name: name, type: part.type.ofFile, bytes: Array(content), contentID: part.contentID))
        }
    }

    /// The type of a file whose type is unknown.
    private static let bytes = "application/octet-stream"

    /// Forms of the same contents for specialized programs.
    private static let twins: Set<String> = ["text/x-amp-html", "text/watch-html"]

    /// Parts whose content type says where the content is (RFC 2046 sections 5.2.2 and 5.2.3).
    private static let references: Set<String> = ["message/external-body", "message/partial"]

    /// Subtypes of `text` that always become files, because only programs read them.
    private static let forPrograms: Set<String> = [
        "calendar", "vcard", "x-vcard", "directory", "csv", "comma-separated-values", "tab-separated-values", "xml", "rtf", "css",
        "javascript", "ecmascript", "json", "x-amp-html", "watch-html", "rfc822-headers", "x-patch", "x-diff", "x-python", "x-sh",
        "x-c", "x-java", "x-script", "yaml", "sql", "vtt", "ics", "x-log",
    ]

    /// The names of HTML as a subtype.
    private static let documents: Set<String> = ["html", "xhtml", "htm", "x-html", "xhtml+xml"]

    private func segment(_ part: MessagePart, _ content: ArraySlice<UInt8>) -> Segment? {
        guard part.type.main == "text" || part.type.name == "application/xhtml+xml", !Self.forPrograms.contains(part.type.sub)
        else { return nil }
        switch part.type.sub {
        case let sub where Self.documents.contains(sub): return Segment(text: text(of: part, content), isHTML: true)
        case "enriched", "richtext": return Segment(text: HTMLText.unenriched(text(of: part, content)), isHTML: false)
        default: return Segment(text: text(of: part, content), isHTML: false)
        }
    }

    private func text(of part: MessagePart, _ content: ArraySlice<UInt8>) -> String {
        let text = Charset.decode(content, label: label(of: part, content))
        guard part.type.name == "text/plain", part.type.value.text("format")?.lowercased() == "flowed" else { return text }
        return FlowedText.joined(text, deletesBlanks: part.type.value.text("delsp")?.lowercased() == "yes")
    }

    /// The charset that the header of a part or its document declares.
    private func label(of part: MessagePart, _ content: ArraySlice<UInt8>) -> String? {
        let label = part.type.value.text("charset")
        // If the header's charset does not apply to bytes above 0x7F, the document's own declaration is used.
        if Self.documents.contains(part.type.sub), label.map({ CharsetLabels.meaning(of: $0) == .undeclared }) ?? true {
            return Self.metaCharset(content) ?? label
        }
        return label
    }

    /// Notes bytes without a character, and an unknown charset, because the text is then a guess.
    private mutating func noteCharset(of part: MessagePart, _ content: ArraySlice<UInt8>, _ text: String) {
        let label = part.type.value.text("charset").map { MailMessage.oneLine(String($0.prefix(40))) }
        if Charset.isDamaged(text, content) {
            let charset = label.map { "the charset \($0)" } ?? "its charset"
            notes.append("Some bytes of the text are not characters of \(charset): U+FFFD stands for them.")
        }
        guard let label, !Charset.isKnown(label), !content.allSatisfy({ $0 < 0x80 }) else { return }
        notes.append("The charset \(label) is not known, so the text may be wrong.")
    }

    /// Notes bytes without a character in the name of a file.
    private mutating func noteBytes(ofName name: String?) {
        guard let name, name.unicodeScalars.contains("\u{FFFD}") else { return }
        notes.append("Some bytes of the name of a file are not characters of its charset. U+FFFD stands for them.")
    }

    /// The charset that an HTML document declares.
    private static func metaCharset(_ html: ArraySlice<UInt8>) -> String? {
        let head = String(decoding: html.prefix(2_048), as: UTF8.self).lowercased()
        let isXML = head.hasPrefix("<?xml")
        guard
            let meta = isXML ? head.firstRange(of: "encoding=") ?? head.firstRange(of: "charset=") : head.firstRange(of: "charset=")
        else { return nil }
        let label = head[meta.upperBound...].drop { $0 == "\"" || $0 == "'" || $0 == " " }.prefix {
            $0.isLetter || $0.isNumber || "-_:.".contains($0)
        }
        // The declared charset can't be UTF-16, because the declaration was readable.
        return label.isEmpty || label.hasPrefix("utf-16") ? nil : String(label)
    }

    /// Whether a file is a message by its name and its contents, regardless of its type.
    private static func isMessage(_ content: ArraySlice<UInt8>, _ name: String?) -> Bool {
        guard name?.lowercased().hasSuffix(".eml") ?? false else { return false }
        let header = HeaderFields.split(content).header
        return header.first("from") != nil
            && ["date", "message-id", "received", "to", "subject"].contains { header.first($0) != nil }
    }

    private mutating func keep(message part: MessagePart) {
        let content = part.content
        if keepsMessages {
            messages.append(Array(content))
            return
        }
        let given = part.fileName(hint: hint)
        noteBytes(ofName: given)
        let name = given.map { AttachmentName.safe($0, type: part.type.name) }
        let subject = MailMessage.subject(of: HeaderFields.split(content).header)
        attachments.append(
            .init(name: name ?? AttachmentName.message(subject: subject), type: "message/rfc822", bytes: Array(content)))
    }

    /// If there is no text, the first file that is inline is displayed (RFC 2183 section 2.1). The displayed part stays a file too.
    private mutating func showFile() {
        guard segments.allSatisfy({ $0.content == .nothing }), messages.isEmpty else { return }
        for part in files where part.disposition.word == "inline" {
            let content = part.content
            guard let segment = segment(part, content), segment.content != .nothing else { continue }
            segments.append(segment)
            return noteCharset(of: part, content, segment.text)
        }
    }

    /// If a report has no text for people, the report itself is displayed.
    private mutating func showReport() {
        let types = ["message/delivery-status", "message/global-delivery-status", "message/disposition-notification"]
        guard let report = attachments.first(where: { types.contains($0.type) }),
            segments.allSatisfy({ $0.content == .nothing })
        else { return }
        segments.append(Segment(text: Charset.decode(report.bytes[...], label: nil), isHTML: false))
    }

    /// All texts combined to one.
    var joined: Segment {
        let said = segments.count > 1 ? segments.filter { $0.content != .nothing } : segments
        guard said.count > 1 else { return said.first ?? segments.last ?? Segment(text: "", isHTML: false) }
        guard let frame = said.firstIndex(where: \.isHTML) else {
            let text =
                said.dropLast().map { $0.text.hasSuffix("\n") ? $0.text : "\($0.text)\r\n" }.joined() + (said.last?.text ?? "")
            return Segment(text: text, isHTML: false)
        }
        // The first HTML document encloses the other texts, which are put before and after the document's own contents.
        func inner(_ segments: ArraySlice<Segment>) -> String {
            segments.map { "\($0.isHTML ? HTMLText.fragment($0.text) : HTMLText.escaped($0.text))\r\n" }.joined()
        }
        let html = HTMLText.closed(said[frame].text)
        let body = HTMLText.body(of: html)
        let text = [
            String(html[..<body.lowerBound]), inner(said[..<frame]), String(html[body]), inner(said[(frame + 1)...]),
            String(html[body.upperBound...]),
        ].joined()
        return Segment(text: text, isHTML: true)
    }
}
