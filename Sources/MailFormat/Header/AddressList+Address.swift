extension AddressList {
    /// One address in its usual form; nil if the text is not exactly one address.
    static func address(_ scalars: [Unicode.Scalar]) -> String? {
        guard scalars.count <= 2_000 else { return nil }
        var text = withoutBlanks(scalars)[...]
        // The caller decodes an encoded domain, and then reads the decoded text.
        if let at = text.firstIndex(of: "@"), text[at...].firstRange(of: ["=", "?"] as [Unicode.Scalar]) != nil { return nil }
        for prefix in ["mailto:", "smtp:"] where string(Array(text.prefix(prefix.count))).lowercased() == prefix {
            text = text.dropFirst(prefix.count)
        }
        text = withoutEncodedWord(text)[...]
        // A source route (RFC 5321 section 4.1.2) is removed.
        if text.first == "@", let colon = text.firstIndex(of: ":") { text = text[(colon + 1)...] }
        text = withoutEnd(text)
        // A closing bracket without an opening one belongs to `[mailto:`, which ``copyColon()`` removed.
        if text.last == "]", !text.contains("[") { text = text.dropLast() }
        if text.count > 2, text.first == "'" && text.last == "'" || text.first == "[" && text.last == "]" {
            text = text.dropFirst().dropLast()
        }
        guard let (local, domain) = EmailAddress.split(string(Array(text))) else { return nil }
        return EmailAddress.canonical(local: local, domain: domain)
    }

    /// Decodes a local part that is one encoded word. If the decoded text has blanks, it is a name, and the word stays encoded.
    private static func withoutEncodedWord(_ text: ArraySlice<Unicode.Scalar>) -> ArraySlice<Unicode.Scalar> {
        guard let at = text.firstIndex(of: "@"), text[..<at].starts(with: ["=", "?"]), text[..<at].suffix(2) == ["?", "="] else {
            return text
        }
        let local = EncodedWords.text(Array(string(Array(text[..<at])).utf8)[...])
        let isPlain = local.unicodeScalars.allSatisfy { !$0.properties.isWhitespace && $0 != "@" && $0 != "\u{FFFD}" }
        return isPlain && !local.isEmpty ? Array(local.unicodeScalars)[...] + text[at...] : text
    }

    /// Removes a port after the domain, and the query of a `mailto:` address (RFC 6068).
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
