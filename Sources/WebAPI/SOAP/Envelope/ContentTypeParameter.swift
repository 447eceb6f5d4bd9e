import HTTPTypes

/// A parameter of a content type, such as `charset`.
enum ContentTypeParameter {
    static func value(_ name: String, in contentType: String) -> String? {
        let text = contentType.utf8
        guard text.contains(UInt8(ascii: ";")) else { return nil }
        var isQuoted = false
        let parts = text.split { byte in
            if byte == UInt8(ascii: "\"") { isQuoted.toggle() }
            return byte == UInt8(ascii: ";") && !isQuoted
        }
        for part in parts.dropFirst() {
            let pair = part.split(separator: UInt8(ascii: "="), maxSplits: 1)
            guard pair.count == 2, Substring(pair[0]).trimmed.lowercased() == name else { continue }
            return String(Substring(pair[1]).trimmed.filter { $0 != "\"" })
        }
        return nil
    }
}
