import Model

/// Checks names that a query gives to columns of its result. Names must be identifiers of OData, so that no name looks like control
/// information in JSON.
enum OutputName {
    /// - Throws: ``FieldsealError`` `.queryDoesNotFit` for a name that is not an identifier.
    static func checked(_ name: String, _ what: String) throws(FieldsealError) -> String {
        guard name.wholeMatch(of: /[\p{L}_][\p{L}\p{N}_]*/) != nil else {
            throw FieldsealError(
                .queryDoesNotFit,
                "The alias \(name.quotedForMessage) of \(what) takes letters, digits and underscores, and begins with no digit.")
        }
        return name
    }

    /// Checks an optional name. An empty name counts as missing.
    static func checked(optional name: String?, _ what: String) throws(FieldsealError) -> String? {
        guard let name, !name.isEmpty else { return nil }
        return try checked(name, what)
    }
}
