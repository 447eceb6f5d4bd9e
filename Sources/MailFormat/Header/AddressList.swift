import Foundation

/// Reads From, To and Cc (RFC 5322 section 3.4) as senders really write them: with groups, comments, semicolons, `mailto:`,
/// brackets in names, brackets as HTML entities, or wholly encoded. The type also reads lists that programs wrote, and guesses
/// nothing in such lists.
package struct AddressList {
    /// How many addresses of one header are parsed.
    static let limit = 10_000

    /// The addresses in order, each with its display name.
    private(set) var entries: [Entry] = []
    /// Texts that name people but have no readable address. Display names of addresses are not among these texts.
    private(set) var unreadable: [String] = []
    /// How a text is read: as a field of a message, as a field without encoded words, or exactly as a program wrote it.
    private enum Manner {
        case field, decoded, exact
    }

    /// An address of a list, with its display name.
    package typealias Entry = (address: String, name: String?)

    /// Whether there are more addresses than the limit.
    private(set) var isCut = false
    /// A word in the place of an address, as in `From: MAILER-DAEMON`.
    private var bareName: String?
    /// The whole field, without encoded words.
    private let whole: String

    /// Whether the list is rejected, because an address in one of its parts could be lost. Only lists that are read exactly are
    /// rejected.
    private var mayLoseAddress = false
    /// The name of a group that has not ended yet, and how many addresses were found before the group.
    private var group: (name: [Unicode.Scalar], start: Int)?
    /// How many characters of ``text`` were before the last angle brackets.
    private var phraseCount = 0

    private let manner: Manner
    private let scalars: [Unicode.Scalar]
    private var index = 0
    /// Whether `(` begins a comment. False after a comment without an end.
    private var hasComments = true
    /// Whether `"` begins a quoted string. False after a string without an end.
    private var hasQuotes = true
    /// The text outside of angle brackets, and inside of them.
    private var text: [Unicode.Scalar] = []
    private var paths: [[Unicode.Scalar]] = []
    /// Whether the text or the paths have an `@`.
    private var hasAddress = false
    private var comments: [[Unicode.Scalar]] = []

    /// - Parameter hint: The charset of bytes above 0x7F that are not UTF-8.
    init(_ field: ArraySlice<UInt8>, hint: String?) {
        self.init(Charset.decode(field, label: nil, hint: hint), .field)
        let isHidden = ["undisclosed", "unlisted"].contains { whole.lowercased().drop { $0 == "\"" || $0 == "<" }.hasPrefix($0) }
        // A group such as `Friends:;` has no members, so nothing is unreadable.
        let isEmptyGroup = whole.filter { !$0.isWhitespace }.hasSuffix(":;")
        if entries.isEmpty, unreadable.isEmpty, !isHidden, !isEmptyGroup, let words { unreadable = [words] }
    }

    /// Reads a list as a program wrote it.
    ///
    /// - Returns: Nil if an address could be lost, because quotes, brackets or groups have no end, or a part of the list is no
    ///   address.
    package static func exactly(_ text: String) -> [Entry]? {
        let list = AddressList(exact: text)
        return list.mayLoseAddress ? nil : list.entries
    }

    /// Whether a text contains an address, in any form in which senders write it.
    package static func hasAddress(_ text: String) -> Bool { !AddressList(text, .decoded).entries.isEmpty }

    var addresses: [String] { entries.map(\.address) }

    private init(exact text: String) {
        (whole, manner) = (text, .exact)
        scalars = Array(text.unicodeScalars)
        while index < scalars.count, entries.count < Self.limit { step() }
        mayLoseAddress = mayLoseAddress || index < scalars.count
        finishExactly(isEnd: true)
    }

    private init(_ field: String, _ manner: Manner) {
        self.manner = manner
        whole = MailMessage.oneLine(manner == .field ? EncodedWords.text(Array(field.utf8)[...]) : field)
        var scalars = Array(Self.withBrackets(field).unicodeScalars).filter { $0 != "\0" && !AttachmentName.isInvisible($0) }
        // Without a plain `@`, the full-width characters of East Asian keyboards count as `@`.
        if !scalars.contains("@") { scalars = scalars.map { ["\u{FF20}", "\u{FE6B}"].contains($0) ? "@" : $0 } }
        self.scalars = scalars
        while index < scalars.count, entries.count < Self.limit { step() }
        isCut = scalars[index...].contains("@")
        finish()
    }

    /// The field with angle brackets in place of HTML entities. The replacement is safe, because no address has a semicolon outside
    /// of quotes.
    private static func withBrackets(_ field: String) -> String {
        guard field.utf8.contains(UInt8(ascii: "&")) else { return field }
        let entities = [("&lt;", "<"), ("&gt;", ">"), ("&LT;", "<"), ("&GT;", ">"), ("&#60;", "<"), ("&#62;", ">")]
        return entities.reduce(field) { $0.replacing($1.0, with: $1.1) }
    }

    /// The text that identifies a sender without an address; nil for none.
    var words: String? {
        let words = bareName ?? whole.prefix(units: EmailAddress.wordsLimit)
        return EmailAddress.isWords(words) ? words : nil
    }

    private mutating func step() {
        let scalar = scalars[index]
        switch scalar {
        case "\"": copyQuoted()
        case "(": if !skipComment() { copy() }
        case "<": copyPath()
        case ">": copyLoneBracket()
        case "[": copyLiteral()
        case ":": copyColon()
        case ",", ";": copySeparator()
        // After an address, an East Asian comma separates it from the next address. Within a name an East Asian comma is an
        // ordinary character.
        case "\u{FF0C}" where hasAddress, "\u{3001}" where hasAddress, "\u{FF1B}" where hasAddress:
            index += 1
            finish()
        default: copy()
        }
    }

    private mutating func copy() {
        if scalars[index] == "@" { hasAddress = true }
        text += manner == .exact ? Self.escaped(scalars[index...index]) : [scalars[index]]
        index += 1
    }

    /// Handles a colon: it ends a group's name or `mailto:`. Colons of routes and literals are within brackets.
    private mutating func copyColon() {
        index += 1
        if manner == .exact ? hasAddress || group != nil : text.contains("@") { return text.append(":") }
        if manner == .exact { group = (text, entries.count) }
        text = []
    }

    private mutating func copySeparator() {
        let separator = scalars[index]
        index += 1
        // In a program's list, a name with a comma belongs to the address after it.
        if manner == .exact, separator == ",", !hasAddress, !Self.isBlank(text) { return text.append(",") }
        finish()
        if separator == ";" { group = nil }
    }

    /// Copies a quoted string with its quotes. A `"` without a second one is skipped; in a program's list it is a character of the
    /// name.
    private mutating func copyQuoted() {
        guard hasQuotes else {
            if manner == .exact { text += Self.escaped(scalars[index...index]) }
            index += 1
            return
        }
        var end = index + 1
        while end < scalars.count, scalars[end] != "\"" { end += scalars[end] == "\\" ? 2 : 1 }
        guard end < scalars.count else {
            hasQuotes = false
            return copyQuoted()
        }
        if manner == .exact, mayEncloseAddress(end) { mayLoseAddress = true }
        text += scalars[index...end]
        index = end + 1
    }

    /// Whether the quoted string that begins here may really be two separate quotes with an address between them.
    private func mayEncloseAddress(_ end: Int) -> Bool {
        guard let at = scalars[index...end].firstIndex(of: "@") else { return false }
        let next = end + 1 < scalars.count ? scalars[end + 1] : " "
        let isWord =
            (text.last.map { $0 == "," || $0.properties.isWhitespace } ?? true)
            && (next.properties.isWhitespace || "<(,;:@".unicodeScalars.contains(next))
        let hasBlankEnd = scalars[index + 1].properties.isWhitespace || scalars[end - 1].properties.isWhitespace
        return !isWord || hasBlankEnd || scalars[at...end].contains { ",;\u{FF0C}\u{3001}\u{FF1B}".unicodeScalars.contains($0) }
    }

    private mutating func skipComment() -> Bool {
        guard hasComments else { return false }
        guard let end = commentEnd(before: scalars.count, isInPath: false) else {
            hasComments = false
            return false
        }
        comments.append(Array(scalars[(index + 1)..<max(index + 1, min(end, scalars.count) - 1)]))
        index = end
        text.append(" ")
        return true
    }

    /// The index after the comment that begins here. Nil if the comment has no end, or contains a bracket within a path.
    private func commentEnd(before limit: Int, isInPath: Bool) -> Int? {
        var end = index
        var depth = 0
        while end < limit {
            switch scalars[end] {
            case "(": depth += 1
            case ")": depth -= 1
            case "\\": end += 1
            case "<" where isInPath, ">" where isInPath: return nil
            default: break
            }
            end += 1
            if depth == 0 { return end }
        }
        return nil
    }

    /// The longest comment within a path.
    private static let pathCommentLimit = 500

    private mutating func copyPath() {
        index += 1
        var path: [Unicode.Scalar] = []
        var isQuoted = false
        var isClosed = false
        while index < scalars.count {
            let scalar = scalars[index]
            if scalar == "\"" { isQuoted.toggle() }
            if manner == .exact, isQuoted, scalar == "\\", index + 1 < scalars.count {
                path += scalars[index...(index + 1)]
                index += 2
                continue
            }
            if !isQuoted {
                if scalar == "(", manner != .exact,
                    let end = commentEnd(before: min(scalars.count, index + Self.pathCommentLimit), isInPath: true)
                {
                    index = end
                    continue
                }
                if scalar == ">" {
                    index += 1
                    isClosed = true
                    break
                }
                // One of these characters shows that the closing bracket is missing.
                if scalar == "<" || scalar == "," && !path.starts(with: ["@"]) { break }
            }
            path.append(scalar)
            index += 1
        }
        if manner == .exact, !path.contains("@") {
            // Angle brackets around a text without `@` belong to the name.
            if path.contains(";") { mayLoseAddress = true }
            text += ["<"] + Self.escaped(path[...]) + (isClosed ? [">"] : [])
            return
        }
        if manner == .exact, !isClosed || !paths.isEmpty { mayLoseAddress = true }
        phraseCount = text.count
        if path.contains("@") { hasAddress = true }
        if !path.isEmpty { paths.append(path) }
    }

    /// Handles a `>` without a `<`. At the end of a word, `>` is replaced by a blank, because the word may be an address whose `<`
    /// is missing. Elsewhere `>` is an ordinary character.
    private mutating func copyLoneBracket() {
        let next = index + 1 < scalars.count ? scalars[index + 1] : " "
        if manner != .exact, next == "," || next == ";" || next.properties.isWhitespace {
            text.append(" ")
        } else {
            text.append(">")
        }
        index += 1
    }

    /// Copies a domain literal. Brackets elsewhere are characters of a name.
    private mutating func copyLiteral() {
        guard text.last == "@", let end = scalars[index...].prefix(300).firstIndex(of: "]") else { return copy() }
        text += scalars[index...end]
        index = end + 1
    }

    /// Ends the current part of the list, and adds its addresses.
    private mutating func finish() {
        guard manner != .exact else { return finishExactly(isEnd: false) }
        defer { (text, paths, comments, hasAddress) = ([], [], [], false) }
        for path in paths {
            if let address = Self.address(path) { return keep(address) }
        }
        let words = Self.words(text)
        if let address = Self.address(text) { return keep(address) }
        let found = words.filter { $0.contains("@") }.compactMap(Self.address)
        if !found.isEmpty { return entries += found.map { ($0, nil) } }
        // Some scripts put the whole address into quotes.
        let quoted = words.compactMap(Self.quotedContent).filter { $0.contains("@") }.compactMap(Self.address)
        if !quoted.isEmpty { return entries += quoted.map { ($0, nil) } }
        // If there is no other address, an address in a comment is used.
        let noted = text.contains("@") ? [] : comments.compactMap(Self.address)
        if !noted.isEmpty { return entries += noted.map { ($0, nil) } }
        let piece = Self.string(text) + paths.map { "<\(Self.string($0))>" }.joined()
        if manner == .field, piece.contains("=?") {
            let inner = AddressList(EncodedWords.text(Array(piece.utf8)[...]), .decoded)
            entries += inner.entries
            unreadable += inner.unreadable
            bareName = bareName ?? inner.bareName
        } else if piece.contains("@") {
            unreadable.append(MailMessage.oneLine(piece))
        } else if bareName == nil, words.count == 1, paths.isEmpty, EmailAddress.isBareName(Self.string(words[0])) {
            bareName = Self.string(words[0])
        }
    }

    /// Ends the current part of a list that a program wrote, and adds its address. A part without an address, or with a second
    /// address, sets ``mayLoseAddress``.
    private mutating func finishExactly(isEnd: Bool) {
        defer { (text, paths, comments, hasAddress, phraseCount) = ([], [], [], false, 0) }
        let isOpen = isEnd && group != nil
        guard !Self.isBlank(text) || !paths.isEmpty || !comments.isEmpty else {
            if isOpen { mayLoseAddress = true }
            return
        }
        // A colon in a display name before brackets does not begin a group.
        let isPhrase = !paths.isEmpty
        let address = Self.trimmed(paths.first ?? text)
        let beside = isPhrase ? Self.trimmed(text) : ""
        guard EmailAddress.isOne(address), isPhrase || !isOpen, Self.isBlank(isPhrase ? Array(text[phraseCount...]) : []),
            !Self.holdsAddress(text) || !isPhrase || beside.lowercased() == address.lowercased(),
            !comments.contains(where: { Self.holdsAddress($0, isComment: true) })
        else {
            mayLoseAddress = true
            return
        }
        var words = isPhrase ? [Self.string(Self.withoutQuotes(text))] : []
        if let group, isOpen, group.start == entries.count {
            words.insert(Self.string(Self.withoutQuotes(group.name)) + ":", at: 0)
        }
        let notes = comments.map { Self.string(Self.withoutQuotes($0)) }
        words += isPhrase ? notes.map { "(\($0))" } : notes
        let name = words.joined(separator: " ").split { $0.isWhitespace }.joined(separator: " ")
        entries.append((address, name.isEmpty || name.lowercased() == address.lowercased() ? nil : name))
    }

    /// Whether a word outside of quotes has an `@` within it. In a comment, quotes are ordinary characters.
    private static func holdsAddress(_ text: [Unicode.Scalar], isComment: Bool = false) -> Bool {
        var isQuoted = false
        var isEscaped = false
        for (index, scalar) in text.enumerated() {
            if isEscaped {
                isEscaped = false
            } else if scalar == "\\" {
                isEscaped = true
            } else if scalar == "\"", !isComment {
                isQuoted.toggle()
            } else if scalar == "@", !isQuoted, index > 0, index + 1 < text.count {
                if !text[index - 1].properties.isWhitespace, !text[index + 1].properties.isWhitespace { return true }
            }
        }
        return false
    }

    /// Escapes characters from outside of quoted strings, so that a quote among them begins no string.
    private static func escaped(_ text: ArraySlice<Unicode.Scalar>) -> [Unicode.Scalar] {
        text.flatMap { $0 == "\"" || $0 == "\\" ? ["\\", $0] : [$0] }
    }

    private static func isBlank(_ text: [Unicode.Scalar]) -> Bool { text.allSatisfy(\.properties.isWhitespace) }

    private static func trimmed(_ text: [Unicode.Scalar]) -> String {
        string(text).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// The longest name in UTF-16 units.
    private static let nameLimit = 160

    /// Adds an address. The display name is before the address's brackets, or in the comment after the address (RFC 5322 section
    /// 3.4).
    private mutating func keep(_ address: String) {
        let phrase =
            paths.isEmpty ? comments.first ?? [] : text.contains { !$0.properties.isWhitespace } ? text : comments.first ?? []
        let plain = Self.string(Self.withoutQuotes(phrase))
        let decoded = manner == .field ? EncodedWords.text(Array(plain.utf8)[...]) : plain
        let name = MailMessage.oneLine(decoded).trimmingCharacters(in: ["'", " "]).prefix(units: Self.nameLimit)
        entries.append((address, name.isEmpty || name.lowercased() == address.lowercased() ? nil : name))
    }

    /// The text without the quotes of quoted strings, and without the backslashes in them.
    private static func withoutQuotes(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        var isEscaped = false
        for scalar in text {
            if !isEscaped, scalar == "\\" {
                isEscaped = true
            } else {
                if isEscaped || scalar != "\"" { result.append(scalar) }
                isEscaped = false
            }
        }
        return result
    }

    /// The contents of a quoted string. Nil for an empty string, and for a word that is not a quoted string.
    private static func quotedContent(_ word: [Unicode.Scalar]) -> [Unicode.Scalar]? {
        word.count > 2 && word.first == "\"" && word.last == "\"" ? Array(word.dropFirst().dropLast()) : nil
    }

    static func string(_ scalars: [Unicode.Scalar]) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }

    private static func words(_ text: [Unicode.Scalar]) -> [[Unicode.Scalar]] {
        var words: [[Unicode.Scalar]] = [[]]
        var isQuoted = false
        for scalar in text {
            if scalar == "\"" { isQuoted.toggle() }
            if scalar.properties.isWhitespace, !isQuoted { words.append([]) } else { words[words.count - 1].append(scalar) }
        }
        return words.filter { !$0.isEmpty }
    }
}
