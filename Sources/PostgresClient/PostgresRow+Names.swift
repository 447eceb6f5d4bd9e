import CLibPQ

// Columns by their names, for rows of more columns than one reads at a glance. PostgreSQL's own lookup compares the names in turn.
extension PostgresRow {
    /// The column's value, which must not be NULL.
    ///
    /// - Throws: ``PostgresDecodingError`` for NULL, for a type that does not fit, and for a column that is not there.
    public func decode<Value: PostgresDecodable>(_ name: String, as type: Value.Type = Value.self) throws(PostgresDecodingError)
        -> Value
    {
        try decode(try column(name, Value.self), as: type)
    }

    /// The column's value, or nil for NULL.
    ///
    /// - Throws: ``PostgresDecodingError`` for a type that does not fit, and for a column that is not there.
    public func decodeIfPresent<Value: PostgresDecodable>(
        _ name: String, as type: Value.Type = Value.self
    ) throws(PostgresDecodingError) -> Value? {
        try decodeIfPresent(try column(name, Value.self), as: type)
    }

    private func column(_ name: String, _ type: Any.Type) throws(PostgresDecodingError) -> Int {
        let number = PQfnumber(result.pointer, name)
        guard number >= 0 else { throw PostgresDecodingError(column: name, expected: "\(type)", typeID: 0) }
        return Int(number)
    }
}
