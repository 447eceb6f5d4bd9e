/// The preferences of a request that the service honours (RFC 7240, OData 4.0 Part 1, section 8.2.8).
struct Preferences: Sendable {
    private(set) var maxPageSize: Int?
    private(set) var returnsRepresentation = false

    init(_ header: String?) {
        for part in (header ?? "").split(separator: ",") {
            let pair = part.split(separator: "=", maxSplits: 1).map { $0.filter { $0 != " " && $0 != "\"" }.lowercased() }
            switch (pair.first, pair.count > 1 ? pair[1] : "") {
            case ("odata.maxpagesize", let value), ("maxpagesize", let value):
                if let size = Int(value), size > 0 { maxPageSize = size }
            case ("return", "representation"): returnsRepresentation = true
            default: continue
            }
        }
    }

    /// What `Preference-Applied` says for a list.
    var appliedToList: String? { maxPageSize.map { "odata.maxpagesize=\($0)" } }
}
