import Foundation

/// Reads From, To and Cc (RFC 5322 section 3.4), as senders write them: groups, comments, semicolons, `mailto:`, brackets in names,
/// brackets as entities of HTML, and wholly encoded.
struct AddressList {
    /// How many addresses of one header are parsed.
    static let limit = 10_000

    private(set) var addresses: [String] = []
    /// The names beside addresses, by the addresses in lower case.
    private(set) var names: [String: String] = [:]
    /// Texts that name people but have no readable address, without names beside addresses.
    private(set) var unreadable: [String] = []
    /// Whether there are more addresses than the limit.
    private(set) var isCut = false
    /// A word in the place of an address, as in `From: MAILER-DAEMON`.
    private var bareName: String?
    /// The whole field, without encoded words.
    private let whole: String

    private let scalars: [Unicode.Scalar]
    private var index = 0
    /// Whether `(` begins a comment. After a comment without an end it does not.
    private var hasComments = true
    /// Whether `"` begins a quoted string. After a string without an end it does not.
    private var hasQuotes = true
    /// The text outside of angle brackets, and inside of them.
    private var text: [Unicode.Scalar] = []
    private var paths: [[Unicode.Scalar]] = []
    /// Whether an `@` stands in either.
    private var hasAddress = false
    private var comments: [[Unicode.Scalar]] = []

    /// - Parameter hint: The charset of bytes above 0x7F that are not UTF-8.
    init(_ field: ArraySlice<UInt8>, hint: String?) {
        self.init(Charset.decode(field, label: nil, hint: hint), isDecoded: false)
        let isHidden = ["undisclosed", "unlisted"].contains { whole.lowercased().drop { $0 == "\"" || $0 == "<" }.hasPrefix($0) }
        // A group without members, such as `Friends:;`.
        let isEmptyGroup = whole.filter { !$0.isWhitespace }.hasSuffix(":;")
        if addresses.isEmpty, unreadable.isEmpty, !isHidden, !isEmptyGroup, let words { unreadable = [words] }
    }

    private init(_ field: String, isDecoded: Bool) {
        whole = MailMessage.oneLine(isDecoded ? field : EncodedWords.text(Array(field.utf8)[...]))
        var scalars = Array(Self.withBrackets(field).unicodeScalars).filter { $0 != "\0" && !AttachmentName.isInvisible($0) }
        // Signs of East Asian keyboards, where there is no other.
        if !scalars.contains("@") { scalars = scalars.map { ["\u{FF20}", "\u{FE6B}"].contains($0) ? "@" : $0 } }
        self.scalars = scalars
        while index < scalars.count, addresses.count < Self.limit { step(isDecoded) }
        isCut = scalars[index...].contains("@")
        finish(isDecoded)
    }

    /// The field with angle brackets where a program wrote entities of HTML. No address has a semicolon outside of quotes.
    private static func withBrackets(_ field: String) -> String {
        guard field.utf8.contains(UInt8(ascii: "&")) else { return field }
        let entities = [("&lt;", "<"), ("&gt;", ">"), ("&LT;", "<"), ("&GT;", ">"), ("&#60;", "<"), ("&#62;", ">")]
        return entities.reduce(field) { $0.replacing($1.0, with: $1.1) }
    }

    /// What may stand for a sender without an address; nil for none.
    var words: String? {
        let words = bareName ?? whole.prefix(units: EmailAddress.wordsLimit)
        return EmailAddress.isWords(words) ? words : nil
    }

    private mutating func step(_ isDecoded: Bool) {
        let scalar = scalars[index]
        switch scalar {
        case "\"": copyQuoted()
        case "(": if !skipComment() { copy() }
        case "<": copyPath()
        case ">": copyLoneBracket()
        case "[": copyLiteral()
        case ":":
            // A group's name, or `mailto:`, comes before it. Outside of brackets it does not belong to a route or a literal.
            index += 1
            if !text.contains("@") { text = [] } else { text.append(":") }
        case ",", ";":
            index += 1
            finish(isDecoded)
        // East Asian commas after an address. In a name they are characters.
        case "\u{FF0C}" where hasAddress, "\u{3001}" where hasAddress, "\u{FF1B}" where hasAddress:
            index += 1
            finish(isDecoded)
        default: copy()
        }
    }

    private mutating func copy() {
        if scalars[index] == "@" { hasAddress = true }
        text.append(scalars[index])
        index += 1
    }

    /// A quoted string with its quotes. A single quote is skipped.
    private mutating func copyQuoted() {
        guard hasQuotes else {
            index += 1
            return
        }
        var end = index + 1
        while end < scalars.count, scalars[end] != "\"" { end += scalars[end] == "\\" ? 2 : 1 }
        guard end < scalars.count else {
            hasQuotes = false
            index += 1
            return
        }
        text += scalars[index...end]
        index = end + 1
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

    /// The index after the comment that begins here; nil for a comment without an end, or with a bracket in a path.
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
        while index < scalars.count {
            let scalar = scalars[index]
            if scalar == "\"" { isQuoted.toggle() }
            if !isQuoted {
                if scalar == "(",
                    let end = commentEnd(before: min(scalars.count, index + Self.pathCommentLimit), isInPath: true)
                {
                    index = end
                    continue
                }
                if scalar == ">" {
                    index += 1
                    break
                }
                // The bracket is not closed.
                if scalar == "<" || scalar == "," && !path.starts(with: ["@"]) { break }
            }
            path.append(scalar)
            index += 1
        }
        if path.contains("@") { hasAddress = true }
        if !path.isEmpty { paths.append(path) }
    }

    /// A bracket that ends nothing: before it stands an address whose opening bracket is missing. Within a word it is a character.
    private mutating func copyLoneBracket() {
        let next = index + 1 < scalars.count ? scalars[index + 1] : " "
        if next == "," || next == ";" || next.properties.isWhitespace { text.append(" ") } else { text.append(">") }
        index += 1
    }

    /// A domain literal; brackets elsewhere are characters of a name.
    private mutating func copyLiteral() {
        guard text.last == "@", let end = scalars[index...].prefix(300).firstIndex(of: "]") else { return copy() }
        text += scalars[index...end]
        index = end + 1
    }

    /// Ends an address.
    private mutating func finish(_ isDecoded: Bool) {
        defer { (text, paths, comments, hasAddress) = ([], [], [], false) }
        for path in paths {
            if let address = Self.address(path) { return keep(address, isDecoded) }
        }
        let words = Self.words(text)
        if let address = Self.address(text) { return keep(address, isDecoded) }
        let found = words.filter { $0.contains("@") }.compactMap(Self.address)
        if !found.isEmpty { return addresses += found }
        // An address in quotes, as some scripts write it.
        let quoted = words.compactMap(Self.quotedContent).filter { $0.contains("@") }.compactMap(Self.address)
        if !quoted.isEmpty { return addresses += quoted }
        // The address is in a comment, and nowhere else.
        let noted = text.contains("@") ? [] : comments.compactMap(Self.address)
        if !noted.isEmpty { return addresses += noted }
        let piece = Self.string(text) + paths.map { "<\(Self.string($0))>" }.joined()
        if !isDecoded, piece.contains("=?") {
            let inner = AddressList(EncodedWords.text(Array(piece.utf8)[...]), isDecoded: true)
            addresses += inner.addresses
            names.merge(inner.names) { first, _ in first }
            unreadable += inner.unreadable
            bareName = bareName ?? inner.bareName
        } else if piece.contains("@") {
            unreadable.append(MailMessage.oneLine(piece))
        } else if bareName == nil, words.count == 1, paths.isEmpty, EmailAddress.isBareName(Self.string(words[0])) {
            bareName = Self.string(words[0])
        }
    }

    /// The longest name in UTF-16 units.
    private static let nameLimit = 160

    /// Adds an address, with the name in front of its brackets, or in the comment beside it (RFC 5322 section 3.4).
    private mutating func keep(_ address: String, _ isDecoded: Bool) {
        addresses.append(address)
        let phrase =
            paths.isEmpty ? comments.first ?? [] : text.contains { !$0.properties.isWhitespace } ? text : comments.first ?? []
        let plain = Self.string(Self.withoutQuotes(phrase))
        let decoded = isDecoded ? plain : EncodedWords.text(Array(plain.utf8)[...])
        let name = MailMessage.oneLine(decoded).trimmingCharacters(in: ["'", " "]).prefix(units: Self.nameLimit)
        let key = address.lowercased()
        guard !name.isEmpty, name.lowercased() != key, names[key] == nil else { return }
        names[key] = name
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

    /// The contents of a quoted string; nil for anything else.
    private static func quotedContent(_ word: [Unicode.Scalar]) -> [Unicode.Scalar]? {
        word.count > 2 && word.first == "\"" && word.last == "\"" ? Array(word.dropFirst().dropLast()) : nil
    }

    private static func string(_ scalars: [Unicode.Scalar]) -> String {
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

    /// One address in its usual form; nil for anything else.
    private static func address(_ scalars: [Unicode.Scalar]) -> String? {
        guard scalars.count <= 2_000 else { return nil }
        var text = withoutBlanks(scalars)[...]
        // An encoded domain is decoded first.
        if let at = text.firstIndex(of: "@"), text[at...].firstRange(of: ["=", "?"] as [Unicode.Scalar]) != nil { return nil }
        for prefix in ["mailto:", "smtp:"] where string(Array(text.prefix(prefix.count))).lowercased() == prefix {
            text = text.dropFirst(prefix.count)
        }
        text = withoutEncodedWord(text)[...]
        // A source route (RFC 5321 section 4.1.2) is removed.
        if text.first == "@", let colon = text.firstIndex(of: ":") { text = text[(colon + 1)...] }
        text = withoutEnd(text)
        // The end of `[mailto:`.
        if text.last == "]", !text.contains("[") { text = text.dropLast() }
        if text.count > 2, text.first == "'" && text.last == "'" || text.first == "[" && text.last == "]" {
            text = text.dropFirst().dropLast()
        }
        guard let (local, domain) = EmailAddress.split(string(Array(text))) else { return nil }
        return EmailAddress.canonical(local: local, domain: domain)
    }

    /// Decodes a local part that is one encoded word. One with blanks in it stays, because it is a name.
    private static func withoutEncodedWord(_ text: ArraySlice<Unicode.Scalar>) -> ArraySlice<Unicode.Scalar> {
        guard let at = text.firstIndex(of: "@"), text[..<at].starts(with: ["=", "?"]), text[..<at].suffix(2) == ["?", "="] else {
            return text
        }
        let local = EncodedWords.text(Array(string(Array(text[..<at])).utf8)[...])
        let isPlain = local.unicodeScalars.allSatisfy { !$0.properties.isWhitespace && $0 != "@" && $0 != "\u{FFFD}" }
        return isPlain && !local.isEmpty ? Array(local.unicodeScalars)[...] + text[at...] : text
    }

    /// Removes the port of a server, and the rest of a `mailto:` address (RFC 6068).
    private static func withoutEnd(_ text: ArraySlice<Unicode.Scalar>) -> ArraySlice<Unicode.Scalar> {
        guard let at = text.firstIndex(of: "@"), text.first != "\"" else { return text }
        if let query = text[at...].firstIndex(of: "?") { return text[..<query] }
        guard let colon = text[at...].lastIndex(of: ":"), colon + 1 < text.endIndex,
            text[(colon + 1)...].allSatisfy({ ("0"..."9").contains($0) })
        else { return text }
        return text[..<colon]
    }

    /// Removes blanks at the ends and around `.` and `@`, which are not parts of an address (RFC 5322 section 4.4).
    private static func withoutBlanks(_ scalars: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        var isQuoted = false
        var blanks: [Unicode.Scalar] = []
        for scalar in scalars {
            if scalar.properties.isWhitespace, !isQuoted {
                blanks.append(scalar)
                continue
            }
            if let last = result.last, last != "@", last != ".", scalar != "@", scalar != "." { result += blanks }
            blanks = []
            if scalar == "\"" { isQuoted.toggle() }
            result.append(scalar)
        }
        return result
    }
}
