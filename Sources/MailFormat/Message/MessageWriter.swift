package import Foundation

/// Writes a message (RFC 5322, MIME). Lines end in CRLF. All bytes are 7-bit, except in addresses that need UTF-8. No text of the
/// caller can add another header field.
package struct MessageWriter {
    /// The longest line in characters (RFC 5322 section 2.1.1), and the longest encoded word (RFC 2047 section 2).
    private static let lineLimit = 76

    private var bytes: [UInt8] = []

    /// An empty message.
    package init() {}

    /// The written bytes: the header, and the body once it has begun.
    package var message: [UInt8] { bytes }

    // MARK: Header

    /// Adds a field with text.
    package mutating func add(_ name: String, text: String) {
        let words = Self.clean(text).split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        let isPlain = text.utf8.allSatisfy { $0 < 0x7F } && !text.contains("=?") && words.allSatisfy { $0.utf8.count <= 500 }
        add(name, words: isPlain ? words : Self.encodedWords(Self.clean(text)))
    }

    /// Adds a field whose value already consists of tokens, such as ids.
    package mutating func add(_ name: String, tokens: [String]) { add(name, words: tokens.map(Self.clean)) }

    /// Adds a field with people. Adds nothing for an empty list.
    package mutating func add(_ name: String, people: [(name: String, address: String)]) {
        guard !people.isEmpty else { return }
        var words: [String] = []
        for (index, person) in people.enumerated() {
            let end = index == people.count - 1 ? "" : ","
            let address = "<\(Self.clean(EmailAddress.onTheWire(person.address).address))>\(end)"
            words += person.name.isEmpty || person.name == person.address ? [address] : Self.phrase(person.name) + [address]
        }
        add(name, words: words)
    }

    /// Adds a field with a date, in UTC.
    package mutating func add(_ name: String, date: Date) {
        let parts = Self.utc.dateComponents([.weekday, .day, .month, .year, .hour, .minute, .second], from: date)
        func two(_ number: Int?) -> String { (number ?? 0) < 10 ? "0\(number ?? 0)" : "\(number ?? 0)" }
        let day = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][(parts.weekday ?? 1) - 1]
        let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][(parts.month ?? 1) - 1]
        let time = "\(two(parts.hour)):\(two(parts.minute)):\(two(parts.second))"
        add(name, words: ["\(day), \(two(parts.day)) \(month) \(parts.year ?? 1970) \(time) +0000"])
    }

    private static let utc = {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        return calendar
    }()

    /// Adds a field, folded between words. No word is split.
    private mutating func add(_ name: String, words: [String]) {
        var line = "\(name):"
        var isFirst = true
        for word in words {
            if !isFirst, !word.isEmpty, line.utf8.count + 1 + word.utf8.count > Self.lineLimit {
                bytes += Array("\(line)\r\n".utf8)
                line = " \(word)"
            } else {
                line += " \(word)"
            }
            isFirst = false
        }
        bytes += Array("\(line)\r\n".utf8)
    }

    /// A display name (RFC 5322 section 3.2.5).
    private static func phrase(_ name: String) -> [String] {
        let name = clean(name)
        guard name.utf8.allSatisfy({ $0 < 0x7F }), !name.contains("=?"), name.utf8.count <= 400 else { return encodedWords(name) }
        return ["\"\(name.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\""]
    }

    /// Text in encoded words of Base64. No encoded word ends within a character.
    private static func encodedWords(_ text: String) -> [String] {
        var words: [String] = []
        var piece: [UInt8] = []
        func flush() {
            if !piece.isEmpty { words.append("=?utf-8?B?\(Data(piece).base64EncodedString())?=") }
            piece = []
        }
        for scalar in text.unicodeScalars {
            let next = Array(String(scalar).utf8)
            if piece.count + next.count > 42 { flush() }
            piece += next
        }
        flush()
        return words
    }

    /// One line without characters that could end it.
    static func clean(_ text: String) -> String {
        var view = String.UnicodeScalarView()
        for scalar in text.unicodeScalars { view.append(scalar.isControl ? " " : scalar) }
        return String(view)
    }

    // MARK: Body

    /// Writes a text as the whole body, or as the next part.
    package mutating func add(body: String, isHTML: Bool) {
        bytes += Array(
            "Content-Type: text/\(isHTML ? "html" : "plain"); charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
                .utf8)
        bytes += Self.quotedPrintable(body)
        bytes += [0x0D, 0x0A]
    }

    /// How the parts of a multipart are related.
    package enum Multipart: String { case mixed, alternative }

    /// Begins a multipart, as the whole body or as the next part. Call ``next(_:)`` before writing each part of the multipart.
    package mutating func begin(_ kind: Multipart, _ boundary: String) {
        bytes += Array("Content-Type: multipart/\(kind.rawValue); boundary=\"\(boundary)\"\r\n\r\n".utf8)
    }

    /// Writes the delimiter before a part.
    package mutating func next(_ boundary: String) { bytes += Array("--\(boundary)\r\n".utf8) }

    /// Writes the delimiter after the last part.
    package mutating func end(_ boundary: String) { bytes += Array("--\(boundary)--\r\n".utf8) }

    /// Writes a file as the next part.
    package mutating func add(file: Data, name: String, type: String, contentID: String? = nil) {
        let name = Self.clean(name)
        let isASCII = name.utf8.allSatisfy { $0 < 0x7F } && name.utf8.count <= 60
        let plain = name.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        let words = isASCII ? [plain] : Self.encodedWords(name)
        // The parameter `name` is for mail programs that do not know RFC 2231, so a non-ASCII name is in encoded words, which most
        // programs decode.
        let lines = Self.mediaType(type).joined(separator: ";\r\n ")
        bytes += Array("Content-Type: \(lines);\r\n name=\"\(words.joined(separator: "\r\n "))\"\r\n".utf8)
        bytes += Array("Content-Disposition: attachment;\r\n \(isASCII ? "filename=\"\(plain)\"" : Self.extended(name))\r\n".utf8)
        if let contentID, Self.isContentID(contentID) { bytes += Array("Content-ID: <\(contentID)>\r\n".utf8) }
        bytes += Array("Content-Transfer-Encoding: base64\r\n\r\n".utf8)
        bytes += file.base64EncodedData(options: [.lineLength76Characters, .endLineWithCarriageReturn, .endLineWithLineFeed])
        bytes += [0x0D, 0x0A]
    }

    /// Whether a text may be a Content-ID in angle brackets: visible ASCII that fits on a line.
    private static func isContentID(_ text: String) -> Bool {
        (1...300).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }

    /// The type of a file with its parameters. A multipart, a message or an invalid type becomes `application/octet-stream`.
    private static func mediaType(_ type: String) -> [String] {
        guard let media = MediaType(type), media.isOfFile else { return ["application/octet-stream"] }
        return media.lines
    }

    /// `filename` in pieces (RFC 2231).
    private static func extended(_ name: String) -> String {
        var pieces: [String] = [""]
        for byte in name.utf8 {
            let isPlain =
                byte < 0x80 && (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) && byte < 0x80 || "-._".utf8.contains(byte)
            if pieces[pieces.count - 1].utf8.count > 50 { pieces.append("") }
            let digits = String(byte, radix: 16, uppercase: true)
            pieces[pieces.count - 1] += isPlain ? String(UnicodeScalar(byte)) : "%\(digits.count < 2 ? "0" : "")\(digits)"
        }
        if pieces.count == 1 { return "filename*=utf-8''\(pieces[0])" }
        return pieces.enumerated().map { "filename*\($0)*=\($0 == 0 ? "utf-8''" : "")\($1)" }.joined(separator: ";\r\n ")
    }

    /// Encodes a text as quoted-printable (RFC 2045 section 6.7): lines of at most 76 characters with CRLF, for any line ends
    /// of the text.
    static func quotedPrintable(_ text: String) -> [UInt8] {
        var result: [UInt8] = []
        var line: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        func escaped(_ byte: UInt8) -> [UInt8] { [UInt8(ascii: "="), digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
        func endLine() {
            if let last = line.last, last == 0x20 || last == 0x09 { line = line.dropLast() + escaped(last) }
            // Some mail servers put `>` before a line that begins with `From `.
            if line.starts(with: "From ".utf8) { line = escaped(line[0]) + line.dropFirst() }
            result += line
            line.removeAll(keepingCapacity: true)
        }
        var previous: UInt8 = 0
        for byte in text.utf8 {
            defer { previous = byte }
            if byte == 0x0A || byte == 0x0D {
                if byte == 0x0A, previous == 0x0D { continue }
                endLine()
                result += [0x0D, 0x0A]
                continue
            }
            guard byte != 0 else { continue }
            let isPlain = byte >= 0x20 && byte < 0x7F && byte != UInt8(ascii: "=") || byte == 0x09
            if line.count + (isPlain ? 1 : 3) > 72 {
                endLine()
                result += [UInt8(ascii: "="), 0x0D, 0x0A]
            }
            if isPlain { line.append(byte) } else { line += escaped(byte) }
        }
        endLine()
        return result
    }
}
