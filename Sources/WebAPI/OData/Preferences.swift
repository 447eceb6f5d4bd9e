import JSON
import Model
import Records

/// The preferences of a request (RFC 7240, OData 4.0 Part 1, section 8.2.8).
///
/// Undocumented preferences are ignored, as RFC 7240 section 2 requires.
struct Preferences: Sendable {
    private(set) var maxPageSize: Int?
    private(set) var returnsRepresentation = false
    private(set) var continuesOnError = false
    /// Names and patterns of requested annotations. A minus before a name or pattern excludes its annotations.
    private(set) var annotations: [String] = []
    /// Whether errors should have details in addition to their message.
    private(set) var includesInnerErrors = false
    /// The reason for which the request is refused: a documented preference is not supported, or its value is invalid.
    private(set) var refusal: FieldsealError?

    /// Supported preferences, without the prefix `odata.` of OData 4.0.
    static let supported: Set<String> = ["continue-on-error", "include-annotations", "maxpagesize", "return"]
    /// Preferences without an effect in this service, each with the reason.
    static let harmless: [String: String] = [
        "respond-async": "a server may respond at once (RFC 7240 section 4.1)",
        "wait": "responses come as soon as they can",
        "handling": "what is not supported is refused in any case",
        "allow-entityreferences": "records are written out",
        "omit-values": "null is written out",
    ]
    /// Documented preferences that are not supported.
    static let refused: Set<String> = ["callback", "track-changes"]

    init(_ header: String?) {
        guard let header else { return }
        var seen: Set<String> = []
        for part in Self.split(header, at: ",") {
            // Parameters of a preference follow a semicolon. Parameters are ignored, because no parameter is defined.
            let pair = (Self.split(part, at: ";").first ?? "").split(separator: "=", maxSplits: 1)
            let name = pair.first.map { $0.trimmed.lowercased() } ?? ""
            let value = pair.count > 1 ? pair[1].filter { $0 != "\"" && $0 != " " } : ""
            // If a preference occurs twice, the first one is used (RFC 7240 section 2).
            guard seen.insert(name.hasPrefix("odata.") ? String(name.dropFirst(6)) : name).inserted else { continue }
            read(name, value)
        }
    }

    private mutating func read(_ name: String, _ value: String) {
        let isOData = name.hasPrefix("odata.")
        switch isOData ? String(name.dropFirst(6)) : name {
        case "maxpagesize":
            guard let size = Int(value), size > 0 else { return refuse(name, "takes a number above 0") }
            maxPageSize = min(size, RecordQuery.pageLimit)
        case "return":
            guard ["representation", "minimal"].contains(value.lowercased()) else {
                return refuse(name, "takes representation or minimal")
            }
            returnsRepresentation = value.lowercased() == "representation"
        case "continue-on-error":
            guard ["", "true", "false"].contains(value.lowercased()) else { return refuse(name, "takes true or false") }
            continuesOnError = value.lowercased() != "false"
        case "include-annotations":
            annotations = value.split(separator: ",").map(String.init)
            includesInnerErrors = wants("Microsoft.PowerApps.CDS.ErrorDetails")
        case let plain where Self.refused.contains(plain) || isOData && Self.harmless[plain] == nil:
            refuse(name, "is not supported. Send the request without it")
        default: return
        }
    }

    private mutating func refuse(_ name: String, _ why: String) {
        let code: ErrorCode = why.hasPrefix("is not") ? .notImplemented : .badRequest
        refusal = refusal ?? FieldsealError(code, "The preference \(name.prefix(100)) \(why).")
    }

    /// Splits at separators outside of quotes.
    private static func split(_ text: some StringProtocol, at separator: Character) -> [Substring] {
        var isQuoted = false
        return Substring(text).split { character in
            if character == "\"" { isQuoted.toggle() }
            return character == separator && !isQuoted
        }
    }

    /// Whether an annotation is requested. The most specific pattern decides. Of two equal patterns, the excluding pattern decides.
    func wants(_ annotation: String) -> Bool {
        var best: (length: Int, isWanted: Bool)?
        for pattern in annotations {
            let isExcluded = pattern.hasPrefix("-")
            let text = isExcluded ? pattern.dropFirst() : Substring(pattern)
            guard text == "*" || text == annotation || text.hasSuffix("*") && annotation.hasPrefix(text.dropLast()) else {
                continue
            }
            let isBetter = best.map { text.count > $0.length || text.count == $0.length && isExcluded } ?? true
            if isBetter { best = (text.count, !isExcluded) }
        }
        return best?.isWanted ?? false
    }

    /// The annotation with the number of all rows.
    static let total = "Microsoft.Dynamics.CRM.totalrecordcount"
    /// The annotation that says whether there are more rows than the annotation `total` says. This service counts exactly, so the
    /// value is always false.
    private static let totalExceeded = "Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded"

    /// The annotations about the number of all rows that the client requested.
    func annotations(of count: Int) -> [JSONValue.Member] {
        let all: [JSONValue.Member] = [
            .init("@\(Self.total)", .integer(Int64(count))), .init("@\(Self.totalExceeded)", .bool(false)),
        ]
        return all.filter { wants(String($0.name.dropFirst())) }
    }

    /// The value of `Preference-Applied` for a list.
    var applied: String? { applied() }

    /// - Parameters:
    ///   - isSizedByQuery: Whether the query itself says how many rows a page has.
    ///   - annotations: The annotations that the response may have; nil for all that were requested.
    func applied(isSizedByQuery: Bool = false, annotations allowed: [String]? = nil) -> String? {
        var applied: [String] = []
        if let maxPageSize, !isSizedByQuery { applied.append("odata.maxpagesize=\(maxPageSize)") }
        let given = allowed ?? annotations
        if !given.isEmpty { applied.append("odata.include-annotations=\"\(given.joined(separator: ","))\"") }
        return applied.isEmpty ? nil : applied.joined(separator: ",")
    }
}
