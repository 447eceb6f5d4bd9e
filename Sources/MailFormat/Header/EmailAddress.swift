import CICU

/// E-mail addresses (RFC 5321 section 4.1.2, RFC 6531) as they occur in mail, including addresses with dots that the standards
/// forbid.
package enum EmailAddress {
    /// The longest address in bytes of UTF-8. RFC 5321 section 4.5.3.1 limits the parts to 64 and 255 bytes, and recommends
    /// accepting longer addresses.
    package static let limit = 320

    /// Whether a text is exactly one address, without characters that end a line or a path in SMTP.
    package static func isOne(_ text: String) -> Bool { split(text) != nil }

    /// Whether a text is one word that is accepted in the place of an address. Mail systems use their bare names as senders.
    static func isBareName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count) && text.unicodeScalars.allSatisfy(isPlain)
    }

    /// The longest text of a sender without a readable address, in UTF-16 units.
    package static let wordsLimit = 200

    /// Whether a text may name a sender without an address. Mail systems use names as senders, and some addresses are unreadable.
    package static func isWords(_ text: String) -> Bool {
        text.utf16.count <= wordsLimit && text.unicodeScalars.allSatisfy { !$0.isControl }
            && text.unicodeScalars.contains {
                $0.isVisible && !$0.properties.isWhitespace && !"<>()\",;:@".unicodeScalars.contains($0)
            }
    }

    /// The parts of an address: the local part in its original form, and the domain.
    package static func split(_ text: String) -> (local: String, domain: String)? {
        guard (3...limit).contains(text.utf8.count) else { return nil }
        let scalars = Array(text.unicodeScalars)
        guard let at = localEnd(scalars), at + 1 < scalars.count, isDomain(scalars[(at + 1)...]) else { return nil }
        return (string(scalars[..<at]), string(scalars[(at + 1)...]))
    }

    /// The position of the `@` after a well-formed local part.
    private static func localEnd(_ scalars: [Unicode.Scalar]) -> Int? {
        guard scalars.first == "\"" else {
            guard let at = scalars.firstIndex(of: "@"), at > 0, scalars[..<at].allSatisfy(isPlain) else { return nil }
            return at
        }
        var index = 1
        while index < scalars.count, scalars[index] != "\"" {
            if scalars[index] == "\\" { index += 1 }
            guard index < scalars.count, !scalars[index].isControl else { return nil }
            index += 1
        }
        guard index > 1, index + 1 < scalars.count, scalars[index + 1] == "@" else { return nil }
        return index + 1
    }

    /// A character that needs no quotes. Dots are allowed anywhere, because such addresses exist.
    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value > 0x20 && !scalar.isControl && !scalar.properties.isWhitespace && !special.contains(scalar)
    }

    private static let special = Set("<>()[]\\,;:\"@".unicodeScalars)

    private static func isDomain(_ scalars: ArraySlice<Unicode.Scalar>) -> Bool {
        if scalars.first == "[" {
            // An address literal (RFC 5321 section 4.1.3).
            return scalars.last == "]" && scalars.count > 2
                && scalars.dropFirst().dropLast().allSatisfy {
                    $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || ":.-_".unicodeScalars.contains($0))
                }
        }
        return scalars.allSatisfy(isPlain) && scalars.contains { $0 != "." } && string(scalars).utf8.count <= 255
    }

    private static func string(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }

    /// The characters that separate the labels of a domain in addition to the dot (RFC 3490 section 3.1).
    private static let dots: Set<Character> = ["\u{3002}", "\u{FF0E}", "\u{FF61}"]

    /// The usual form of an address: without needless quotes, with plain dots in its domain, and without a dot at the end.
    static func canonical(local: String, domain: String) -> String {
        var domain = String(domain.map { dots.contains($0) ? "." : $0 })
        while domain.hasSuffix(".") { domain.removeLast() }
        guard local.hasPrefix("\""), local.utf8.count > 2 else { return "\(local)@\(domain)" }
        var content: [Unicode.Scalar] = []
        var isQuoted = false
        for scalar in local.unicodeScalars.dropFirst().dropLast() {
            if scalar == "\\", !isQuoted {
                isQuoted = true
            } else {
                content.append(scalar)
                isQuoted = false
            }
        }
        if content.allSatisfy(isPlain) { return "\(string(content[...]))@\(domain)" }
        let escaped = content.flatMap { $0 == "\"" || $0 == "\\" ? ["\\", $0] : [$0] }
        return "\"\(string(escaped[...]))\"@\(domain)"
    }

    /// An address for SMTP: its domain in A-labels (RFC 5890), and whether the local part needs SMTPUTF8 (RFC 6531).
    package static func onTheWire(_ address: String) -> (address: String, needsUTF8: Bool) {
        guard let (local, domain) = split(address) else { return (address, !address.utf8.allSatisfy { $0 < 0x80 }) }
        let wire = "\(local)@\(domain.utf8.allSatisfy { $0 < 0x80 } ? domain : converted(domain, toASCII: true) ?? domain)"
        return (wire, !wire.utf8.allSatisfy { $0 < 0x80 })
    }

    /// The lower-case forms by which an address is found: the original, with A-labels, and with U-labels.
    package static func forms(_ address: String) -> [String] {
        let lower = address.lowercased()
        guard let (local, domain) = split(lower) else { return [lower] }
        let isASCII = domain.utf8.allSatisfy { $0 < 0x80 }
        guard !isASCII || domain.hasPrefix("xn--") || domain.contains(".xn--") else { return [lower] }
        guard let other = converted(domain, toASCII: !isASCII), other != domain else { return [lower] }
        return [lower, "\(local)@\(other)"]
    }

    private static func converted(_ domain: String, toASCII: Bool) -> String? {
        var result = [CChar](repeating: 0, count: 1_024)
        let count = icu_domain(domain, Int32(domain.utf8.count), toASCII ? 1 : 0, &result, Int32(result.count))
        guard count > 0, Int(count) < result.count else { return nil }
        return String(decoding: result.prefix(Int(count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
