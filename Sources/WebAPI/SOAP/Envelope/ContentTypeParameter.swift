import HTTPTypes

/// A parameter of a content type, such as `charset`.
enum ContentTypeParameter {
    static func value(_ name: String, in contentType: String) -> String? {
        var isQuoted = false
        let parts = contentType.split { character in
            if character == "\"" { isQuoted.toggle() }
            return character == ";" && !isQuoted
        }
        for part in parts.dropFirst() {
            let pair = part.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, pair[0].trimmed.lowercased() == name else { continue }
            return String(pair[1].trimmed.filter { $0 != "\"" })
        }
        return nil
    }
}
