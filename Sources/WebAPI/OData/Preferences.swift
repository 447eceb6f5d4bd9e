/// The preferences of a request that the service honours (RFC 7240, OData 4.0 Part 1, section 8.2.8).
struct Preferences: Sendable {
    private(set) var maxPageSize: Int?
    private(set) var returnsRepresentation = false
    private(set) var continuesOnError = false
    /// Names and patterns of the annotations that are wanted.
    private(set) var annotations: [String] = []
    /// Whether errors are to say more than their message.
    private(set) var includesInnerErrors = false

    init(_ header: String?) {
        guard let header else { return }
        for part in Self.parts(header) {
            let pair = part.split(separator: "=", maxSplits: 1)
            let name = pair.first.map { $0.filter { $0 != " " }.lowercased() } ?? ""
            let value = pair.count > 1 ? pair[1].filter { $0 != "\"" && $0 != " " } : ""
            switch name {
            case "odata.maxpagesize", "maxpagesize":
                if let size = Int(value), size > 0 { maxPageSize = size }
            case "return": returnsRepresentation = value.lowercased() == "representation"
            case "odata.continue-on-error", "continue-on-error": continuesOnError = value.lowercased() != "false"
            case "odata.include-annotations", "include-annotations":
                annotations = value.split(separator: ",").map(String.init)
                includesInnerErrors = annotations.contains { $0.hasPrefix("Microsoft.PowerApps.CDS") || $0 == "*" }
            default: continue
            }
        }
    }

    /// Splits at commas that stand in no quotes.
    private static func parts(_ text: String) -> [Substring] {
        var isQuoted = false
        return text.split { character in
            if character == "\"" { isQuoted.toggle() }
            return character == "," && !isQuoted
        }
    }

    /// Whether the annotation of that name is wanted.
    func wants(_ annotation: String) -> Bool {
        annotations.contains { pattern in
            pattern == "*" || pattern == annotation || pattern.hasSuffix("*") && annotation.hasPrefix(pattern.dropLast())
        }
    }

    /// What `Preference-Applied` says for a list.
    var applied: String? {
        var applied: [String] = []
        if let maxPageSize { applied.append("odata.maxpagesize=\(maxPageSize)") }
        if !annotations.isEmpty { applied.append("odata.include-annotations=\"\(annotations.joined(separator: ","))\"") }
        return applied.isEmpty ? nil : applied.joined(separator: ",")
    }
}
