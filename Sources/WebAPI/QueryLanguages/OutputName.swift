import Model

/// Names that a query gives columns of its result: identifiers of OData, which no control information of JSON is.
enum OutputName {
    /// - Throws: ``FieldsealError`` `.queryDoesNotFit` for a name that is none.
    static func checked(_ name: String, _ what: String) throws(FieldsealError) -> String {
        guard name.wholeMatch(of: /[\p{L}_][\p{L}\p{N}_]*/) != nil else {
            throw FieldsealError(
                .queryDoesNotFit,
                "The alias \(name.quotedForMessage) of \(what) takes letters, digits and underscores, and begins with no digit.")
        }
        return name
    }

    /// The same for a name that may be left out or empty, which is none.
    static func checked(optional name: String?, _ what: String) throws(FieldsealError) -> String? {
        guard let name, !name.isEmpty else { return nil }
        return try checked(name, what)
    }
}
