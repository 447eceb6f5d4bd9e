import Model

/// The query options in OData's and Dataverse's documentation, and the kinds of requests that support them.
///
/// Every other option is refused by name. Parameter aliases (`@name`) belong to the expressions that use them.
enum QueryOptions {
    /// The kind of a request, which determines its query options.
    enum Kind {
        /// A list of records.
        case list
        /// A list of the records that are related to a record.
        case related
        /// A list of records' addresses (`$ref`).
        case references
        /// The number of records (`$count`).
        case count
        /// One record, read or written.
        case record
        /// Requests without options: single attributes, deletes, batches, documents, functions and actions.
        case none
        /// The document of the metadata.
        case metadata
        /// Removing a record from a collection. `$id` may name the record.
        case disassociation
    }

    /// Options without an effect in any request, each with the reason.
    static let harmless: [String: String] = ["tag": "it is for plug-ins, and there are none"]
    /// Documented options that no request supports.
    static let unsupported: Set<String> = [
        "$search", "$compute", "$index", "$schemaversion", "$deltatoken", "$levels", "$entityid", "savedQuery", "userQuery",
        "partitionId",
    ]

    static func supported(by kind: Kind) -> Set<String> {
        switch kind {
        case .list:
            [
                "$select", "$filter", "$orderby", "$top", "$skip", "$count", "$expand", "$apply", "$skiptoken", "$format",
                "fetchXml",
                "sql",
            ]
        case .related: supported(by: .list).subtracting(["fetchXml", "sql"])
        case .references: ["$filter", "$orderby", "$top", "$skip", "$count", "$skiptoken", "$format"]
        case .count: ["$filter"]
        case .record: ["$select", "$expand", "$format"]
        case .none: []
        case .metadata: ["annotations"]
        case .disassociation: ["$id"]
        }
    }

    /// Options that can be combined with a query in another language, or with `$apply`.
    private static let companions: [(option: String, others: Set<String>)] = [
        ("fetchXml", ["$format"]), ("sql", ["$skiptoken", "$format"]),
        ("$apply", ["$orderby", "$top", "$skip", "$count", "$skiptoken", "$format"]),
    ]

    /// - Throws: ``FieldsealError`` naming the option that the request does not support.
    static func check(_ options: [(name: String, value: String)], for kind: Kind) throws(FieldsealError) {
        let supported = supported(by: kind)
        for (name, _) in options where !name.hasPrefix("@") && !supported.contains(name) && harmless[name] == nil {
            throw refusal(name, kind)
        }
        let names = Set(options.map(\.name))
        for (option, others) in companions where names.contains(option) {
            let own = names.filter { !$0.hasPrefix("@") && $0 != option && harmless[$0] == nil }
            guard let other = own.subtracting(others).sorted().first else { continue }
            throw FieldsealError(
                .queryDoesNotFit,
                "The query options \(option) and \(other) can't be used together. Put the condition into one of them.")
        }
    }

    private static func refusal(_ name: String, _ kind: Kind) -> FieldsealError {
        let shown = name.prefix(100)
        if unsupported.contains(name) { return FieldsealError(.notImplemented, "The query option '\(shown)' is not supported.") }
        if supported(by: .list).union(supported(by: .disassociation)).contains(name) {
            return FieldsealError(.queryDoesNotFit, "The query option '\(shown)' is not supported here. \(advice(kind))")
        }
        let known = supported(by: .list).union(supported(by: .disassociation)).union(unsupported)
        let lowercased = name.lowercased()
        if let meant = known.first(where: { $0.lowercased() == lowercased || $0.lowercased() == "$\(lowercased)" }) {
            return FieldsealError(.queryDoesNotFit, "There is no query option '\(shown)'. It is written \(meant).")
        }
        return FieldsealError(.queryDoesNotFit, "There is no query option '\(shown)'. Send the request without it.")
    }

    private static func advice(_ kind: Kind) -> String {
        let supported = supported(by: kind).sorted()
        return supported.isEmpty
            ? "This address takes no query options." : "This address takes \(supported.joined(separator: ", "))."
    }
}
