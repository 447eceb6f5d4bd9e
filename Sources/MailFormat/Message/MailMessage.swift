package import Foundation

/// A parsed message (RFC 5322, RFC 2045 to 2049) with what a reader would see, in UTF-8.
package struct MailMessage: Sendable {
    /// The subject, on one line.
    package var subject = ""
    /// The sender: the first valid address of From, Sender, Reply-To and Return-Path. Without a valid address, the first words in
    /// these fields, such as `MAILER-DAEMON`; empty if there are none.
    package var from = ""
    package var to: [String] = []
    package var cc: [String] = []
    /// The addresses of Reply-To: where the author wants answers to go.
    package var replyTo: [String] = []
    package private(set) var names = Names()
    /// The Message-ID with its angle brackets. Empty if the message has no Message-ID.
    package var messageID = ""
    /// In-Reply-To, then References from the newest to the oldest.
    package var references: [String] = []
    /// References in their original order, oldest first. A reply repeats these ids.
    package var thread: [String] = []
    package var date: Date?
    package var importance = "Normal"
    package var body = ""
    package var isHTML = false
    package var attachments: [Attachment] = []
    /// Messages that were forwarded as attachments, each as a whole.
    package var messages: [[UInt8]] = []
    /// Whether the message has more than ``messages``: words, attachments, or parts that can't be read.
    package private(set) var saysMore = false
    /// The parts of the message that the other properties do not show: see ``original(of:)``.
    package private(set) var notes: [Note] = []

    /// The display names of the addresses, in the order of the addresses.
    package struct Names: Sendable, Equatable {
        package var from: String?
        package var to: [String?] = []
        package var cc: [String?] = []
    }

    /// A note about a part of the message that could not be represented.
    package struct Note: Sendable, Equatable {
        /// The description as a sentence.
        package let text: String
        /// Whether the message's header contains everything that the note is about.
        package let isOfHeader: Bool
    }

    /// A part that is not the text.
    package struct Attachment: Sendable {
        package let name: String
        package let type: String
        package let bytes: [UInt8]
        /// The Content-ID by which HTML refers to it (RFC 2392); nil for none.
        package var contentID: String?
    }

    /// How many ids of References are kept: the newest ones, and the oldest ones, which identify the conversation.
    private static let newestReferences = 80
    private static let oldestReferences = 20
    /// How many addresses of Reply-To are kept.
    private static let replyAddresses = 20

    /// Parses a message. No message is refused: a property that can't be parsed is empty.
    ///
    /// - Parameter keepsMessages: Whether forwarded messages are kept whole, instead of as attachments.
    package init(_ bytes: [UInt8], keepsMessages: Bool = false) {
        let structure = MessageStructure(Self.withLineFeeds(bytes)[...])
        let hint = Self.charset(of: structure.root)
        readHeader(structure.root.header, hint)
        let selection = BodySelection(structure.root, keepsMessages: keepsMessages, hint: hint)
        let text = selection.joined
        (body, isHTML) = (Self.clean(text.text), text.isHTML)
        (attachments, messages) = (selection.attachments, selection.messages)
        saysMore = selection.saysMore || !(structure.notes + selection.notes).isEmpty
        notes += (structure.notes + selection.notes).map { Note(text: $0, isOfHeader: false) }
    }

    /// Adds a note. An equal note is not added again.
    package mutating func note(_ text: String, isOfHeader: Bool) {
        let note = Note(text: text, isOfHeader: isOfHeader)
        if !notes.contains(note) { notes.append(note) }
    }

    /// What has to be kept of the original message because of the notes: its header, or all of it. Nil without notes.
    package func original(of bytes: [UInt8]) -> Attachment? {
        guard !notes.isEmpty else { return nil }
        guard notes.allSatisfy(\.isOfHeader) else { return Attachment(name: "original.eml", type: "message/rfc822", bytes: bytes) }
        let end = HeaderFields.split(bytes[...]).body.startIndex
        return Attachment(name: "original-header.txt", type: "text/rfc822-headers", bytes: Array(bytes[..<end]))
    }

    /// Replaces CR by LF in messages of old programs, whose lines end in CR alone.
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
        noteFlaws(ofSubject: header.first("subject"), hint)
        noteRepeated(header)
        (to, names.to) = recipients("to", header, hint)
        (cc, names.cc) = recipients("cc", header, hint)
        replyTo = Array(header.all("reply-to").flatMap { AddressList($0, hint: hint).addresses }.prefix(Self.replyAddresses))
        (from, names.from) = Self.sender(header, hint)
        noteOthers(header, hint)
        messageID = MessageIDs.all(header.first("message-id")).first ?? ""
        if messageID.isEmpty, let field = header.first("message-id"), !field.isEmpty {
            note("The Message-ID can't be read, or has more than \(MessageIDs.limit) bytes.", isOfHeader: true)
        }
        let ids = header.all("references").flatMap { MessageIDs.all($0) }
        thread = ids.count <= 100 ? ids : Array(ids.prefix(Self.oldestReferences) + ids.suffix(Self.newestReferences))
        var known: Set<String> = []
        references =
            (header.all("in-reply-to").flatMap { MessageIDs.all($0).prefix(10) } + ids.suffix(Self.newestReferences).reversed()
            + ids.dropLast(Self.newestReferences).prefix(Self.oldestReferences)).filter { known.insert($0).inserted }
        if let field = header.first("date"), !field.isEmpty, MailDate.date(field) == nil {
            note("The date can't be read: \(Self.oneLine(String(decoding: field.prefix(60), as: UTF8.self)))", isOfHeader: true)
        }
        date = MailDate.date(header.first("date")) ?? MailDate.date(header.first("received").flatMap { Self.afterSemicolon($0) })
        importance = Self.importance(of: header)
    }

    /// Notes what is wrong with the subject's text.
    private mutating func noteFlaws(ofSubject field: ArraySlice<UInt8>?, _ hint: String?) {
        guard let flaws = field.map({ EncodedWords.flaws(of: $0, hint: hint) }) else { return }
        if let label = flaws.unknownCharset {
            note(
                "The charset \(Self.oneLine(String(label.prefix(40)))) of the subject is not known, so the subject may be wrong.",
                isOfHeader: true)
        }
        if flaws.isDamaged {
            note("Some bytes of the subject are not characters of its charset: U+FFFD stands for them.", isOfHeader: true)
        }
    }

    /// The importance, by the first field that has a known word (RFC 2156, and fields that programs use).
    private static func importance(of header: HeaderFields) -> String {
        for field in ["importance", "x-priority", "x-msmail-priority", "priority"] {
            let text = header.first(field).map { String(decoding: $0.prefix(20), as: UTF8.self).lowercased() } ?? ""
            switch text.prefix(while: { $0.isLetter || $0.isNumber || $0 == "-" }) {
            case "high", "urgent", "1", "2": return "High"
            case "low", "non-urgent", "4", "5": return "Low"
            case "normal", "3": return "Normal"
            default: continue
            }
        }
        return "Normal"
    }

    /// Notes fields that occur several times with different values, although a message may have them only once. The first value is
    /// used.
    private mutating func noteRepeated(_ header: HeaderFields) {
        for (field, name) in [("subject", "Subject"), ("date", "Date"), ("message-id", "Message-ID")] {
            let values = header.all(field).filter { !$0.isEmpty }
            guard let first = values.first, values.dropFirst().contains(where: { $0 != first }) else { continue }
            note("There are several fields \(name) with different values: the first one is used.", isOfHeader: true)
        }
        let types = header.all("content-type").filter { !$0.isEmpty }
        if let first = types.first, types.dropFirst().contains(where: { $0 != first }) {
            note("There are several fields Content-Type with different values: the first one is used.", isOfHeader: false)
        }
    }

    /// When a message arrived, by its newest trace field, or else by its Date field; nil if neither can be read.
    package static func arrival(of bytes: [UInt8]) -> Date? {
        let header = HeaderFields.split(withLineFeeds(bytes)[...]).header
        return MailDate.date(header.first("received").flatMap { afterSemicolon($0) }) ?? MailDate.date(header.first("date"))
    }

    /// RFC 5321 section 4.4: the date of a trace field is after its last semicolon.
    private static func afterSemicolon(_ field: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        field.lastIndex(of: UInt8(ascii: ";")).map { field[($0 + 1)...] }
    }

    private mutating func recipients(
        _ field: String, _ header: HeaderFields, _ hint: String?
    ) -> (addresses: [String], names: [String?]) {
        let entries = header.all(field).flatMap { value in
            let list = AddressList(value, hint: hint)
            if list.isCut {
                note(
                    "More than \(AddressList.limit) recipients are in one field: the remaining ones are left out.", isOfHeader: true
                )
            }
            for words in list.unreadable.prefix(10) {
                note("No address can be read in \(field == "to" ? "To" : "Cc"): \(words.prefix(units: 100))", isOfHeader: true)
            }
            return list.entries
        }
        return (entries.map(\.address), entries.map(\.name))
    }

    /// Notes people that no attribute of the record names: further senders, further addresses for replies, and recipients of blind
    /// copies.
    private mutating func noteOthers(_ header: HeaderFields, _ hint: String?) {
        let names = ["from": "From", "sender": "Sender", "reply-to": "Reply-To", "bcc": "Bcc"]
        let known = Set(([from] + to + cc).map { $0.lowercased() })
        for field in ["from", "sender", "reply-to", "bcc"] {
            let others = header.all(field).flatMap { AddressList($0, hint: hint).addresses }.filter {
                !known.contains($0.lowercased())
            }
            guard !others.isEmpty else { continue }
            let list = others.prefix(3).joined(separator: ", ").prefix(units: 300)
            note("\(names[field] ?? field) also names \(list)\(others.count > 3 ? " and others" : "").", isOfHeader: true)
        }
    }

    /// The first usable address and its name; without an address, the first words in a field for senders.
    private static func sender(_ header: HeaderFields, _ hint: String?) -> (address: String, name: String?) {
        var words: String?
        for field in ["from", "sender", "reply-to", "return-path"] {
            for value in header.all(field) {
                let list = AddressList(value, hint: hint)
                if let first = list.entries.first { return first }
                words = words ?? list.words
            }
        }
        return (words?.prefix(units: EmailAddress.wordsLimit) ?? "", nil)
    }

    static func subject(of header: HeaderFields, _ hint: String? = nil) -> String {
        oneLine(header.first("subject").map { EncodedWords.text($0, hint: hint) } ?? "")
    }

    /// One line of text: U+0000 is removed, and other control characters become blanks.
    package static func oneLine(_ text: String) -> String {
        var view = String.UnicodeScalarView()
        for scalar in text.unicodeScalars where scalar != "\0" { view.append(scalar.isControl ? " " : scalar) }
        return String(view).trimmingCharacters(in: .whitespaces)
    }

    /// Whether a text may have a control character, or a line end other than LF and CR LF.
    private static func mayHaveControls(_ text: String) -> Bool {
        func hasSuspect(_ bytes: some Sequence<UInt8>) -> Bool {
            var previous: UInt8 = 0
            for byte in bytes {
                if byte < 0x20 && byte != 0x0A && byte != 0x0D && byte != 0x09 || byte == 0x7F || byte == 0xC2 { return true }
                if previous == 0x0D, byte != 0x0A { return true }
                previous = byte
            }
            return previous == 0x0D
        }
        return text.utf8.withContiguousStorageIfAvailable { hasSuspect($0) } ?? hasSuspect(text.utf8)
    }

    /// Removes control characters from a text of several lines, except tabs and line ends. A PostgreSQL text can't contain U+0000,
    /// and XML can't contain most control characters. A CR alone ends a line, and CR CR LF ends one line.
    private static func clean(_ text: String) -> String {
        guard mayHaveControls(text) else { return text }
        var view = String.UnicodeScalarView()
        var returns = 0
        func endLines(before scalar: Unicode.Scalar?) {
            let lines = scalar == "\n" ? 0 : returns
            for _ in 0..<lines { view.append(contentsOf: "\r\n".unicodeScalars) }
            if scalar == "\n", returns > 0 { view.append("\r") }
            returns = 0
        }
        for scalar in text.unicodeScalars {
            guard scalar != "\r" else {
                returns += 1
                continue
            }
            endLines(before: scalar)
            switch scalar {
            case "\n", "\t": view.append(scalar)
            // These are next line, vertical tab and form feed.
            case "\u{85}", "\u{0B}", "\u{0C}": view.append("\n")
            default: if !scalar.isControl || scalar.value > 0x9F { view.append(scalar) }
            }
        }
        endLines(before: nil)
        return String(view)
    }
}
