public import Foundation

/// A message taken apart (RFC 5322, RFC 2045 to 2049) into what a reader would see, converted to UTF-8.
public struct MailMessage: Sendable {
    /// One line.
    public var subject = ""
    /// Who it is from: the first usable address of From, Sender, Reply-To and Return-Path, else a bare name; empty when there is none.
    public var from = ""
    public var to: [String] = []
    public var cc: [String] = []
    /// With its angle brackets; empty where there is none.
    public var messageID = ""
    /// In-Reply-To, then References from the newest on.
    public var references: [String] = []
    /// References as they stand there, oldest first: what an answer repeats.
    public var thread: [String] = []
    public var date: Date?
    public var importance = "Normal"
    public var body = ""
    public var isHTML = false
    public var attachments: [Attachment] = []
    /// Messages that were forwarded as attachments, whole.
    public var messages: [[UInt8]] = []
    /// Whether limits left something out of the rest: then the message itself is an attachment.
    public var isCut = false

    /// A part that is not the text.
    public struct Attachment: Sendable {
        public let name: String
        public let type: String
        public let bytes: [UInt8]
    }

    /// Ids of References that are kept: the newest, and those that the conversation began with.
    private static let newestReferences = 80
    private static let oldestReferences = 20

    /// Takes a message apart. There is no message that it refuses: what can't be understood is left empty.
    ///
    /// - Parameter keepsMessages: Whether forwarded messages are wanted whole, instead of as attachments.
    public init(_ bytes: [UInt8], keepsMessages: Bool = false) {
        let structure = MessageStructure(Self.withLineFeeds(bytes)[...])
        let hint = Self.charset(of: structure.root)
        readHeader(structure.root.header, hint)
        let selection = BodySelection(structure.root, keepsMessages: keepsMessages, hint: hint)
        let text = selection.joined
        (body, isHTML) = (Self.clean(text.text), text.isHTML)
        (attachments, messages) = (selection.attachments, selection.messages)
        guard structure.isCut else { return }
        isCut = true
        attachments.append(Attachment(name: "original.eml", type: "message/rfc822", bytes: bytes))
    }

    /// Lines that end in CR alone, as old programs wrote them, end in LF.
    private static func withLineFeeds(_ bytes: [UInt8]) -> [UInt8] {
        bytes.contains(0x0A) ? bytes : bytes.map { $0 == 0x0D ? 0x0A : $0 }
    }

    /// The first charset that a part declares.
    private static func charset(of part: MessagePart) -> String? {
        if let charset = part.type.value.text("charset") { return charset }
        for child in part.children.prefix(20) {
            if let charset = charset(of: child) { return charset }
        }
        return nil
    }

    private mutating func readHeader(_ header: HeaderFields, _ hint: String?) {
        subject = Self.subject(of: header, hint)
        to = header.all("to").flatMap { AddressList($0, hint: hint).addresses }
        cc = header.all("cc").flatMap { AddressList($0, hint: hint).addresses }
        from = Self.sender(header, hint)
        messageID = MessageIDs.all(header.first("message-id")).first ?? ""
        let ids = header.all("references").flatMap { MessageIDs.all($0) }
        thread = ids.count <= 100 ? ids : Array(ids.prefix(Self.oldestReferences) + ids.suffix(Self.newestReferences))
        var known: Set<String> = []
        references =
            (header.all("in-reply-to").flatMap { MessageIDs.all($0).prefix(10) } + ids.suffix(Self.newestReferences).reversed()
            + ids.dropLast(Self.newestReferences).prefix(Self.oldestReferences)).filter { known.insert($0).inserted }
        date = MailDate.date(header.first("date")) ?? MailDate.date(header.first("received").flatMap { Self.afterSemicolon($0) })
        let priority = header.first("x-priority")?.first
        switch header.first("importance").map({ String(decoding: $0.prefix(20), as: UTF8.self).lowercased() }) {
        case "high": importance = "High"
        case "low": importance = "Low"
        default:
            importance =
                priority == UInt8(ascii: "1") || priority == UInt8(ascii: "2")
                ? "High" : priority == UInt8(ascii: "4") || priority == UInt8(ascii: "5") ? "Low" : "Normal"
        }
    }

    /// RFC 5321 section 4.4: the date of a trace field is behind its last semicolon.
    private static func afterSemicolon(_ field: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        field.lastIndex(of: UInt8(ascii: ";")).map { field[($0 + 1)...] }
    }

    private static func sender(_ header: HeaderFields, _ hint: String?) -> String {
        var name: String?
        for field in ["from", "sender", "reply-to", "return-path"] {
            for value in header.all(field) {
                let list = AddressList(value, hint: hint)
                if let address = list.addresses.first { return address }
                if field == "from" { name = name ?? list.bareName }
            }
        }
        return name.map(oneLine) ?? ""
    }

    static func subject(of header: HeaderFields, _ hint: String? = nil) -> String {
        oneLine(header.first("subject").map { EncodedWords.text($0, hint: hint) } ?? "")
    }

    /// A text without what ends a line or is not seen: U+0000 is taken out, other controls become blanks.
    public static func oneLine(_ text: String) -> String {
        var view = String.UnicodeScalarView()
        for scalar in text.unicodeScalars where scalar != "\0" { view.append(scalar.isControl ? " " : scalar) }
        return String(view).trimmingCharacters(in: .whitespaces)
    }

    /// A text of several lines without other controls: PostgreSQL's texts hold no U+0000, and XML none of them.
    private static func clean(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 < 0x20 && $0 != 0x0A && $0 != 0x0D && $0 != 0x09 || $0 == 0x7F || $0 == 0xC2 }) else {
            return text
        }
        var view = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n", "\r", "\t": view.append(scalar)
            // Next line, vertical tab, form feed.
            case "\u{85}", "\u{0B}", "\u{0C}": view.append("\n")
            default: if !scalar.isControl || scalar.value > 0x9F { view.append(scalar) }
            }
        }
        return String(view)
    }
}
