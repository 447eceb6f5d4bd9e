/// A name as an SQL identifier: in double quotes, with each double quote inside of the name doubled (PostgreSQL, 4.1.1).
///
/// This function is the only place that puts a name into a statement's text. Values are parameters.
public func quoteIdentifier(_ name: String) -> String {
    name.utf8.contains(UInt8(ascii: "\"")) ? "\"\(name.replacing("\"", with: "\"\""))\"" : "\"\(name)\""
}
