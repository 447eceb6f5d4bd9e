/// A name as an identifier of SQL: in double quotes, with those inside doubled (PostgreSQL, 4.1.1).
///
/// The one place that puts a name into a statement's text. Values never go there: they are parameters.
public func quoteIdentifier(_ name: String) -> String {
    name.utf8.contains(UInt8(ascii: "\"")) ? "\"\(name.replacing("\"", with: "\"\""))\"" : "\"\(name)\""
}
