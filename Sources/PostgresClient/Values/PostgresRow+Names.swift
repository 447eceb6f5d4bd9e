import CLibPQ

// Columns by name, for rows with many columns. libpq finds a column by comparing the names one by one.
extension PostgresRow {
    /// The column's value, which must not be NULL.
    ///
    /// - Throws: ``PostgresDecodingError`` for NULL, for another type, and for a missing column.
    public func decode<Value: PostgresDecodable>(_ name: String, as type: Value.Type = Value.self) throws(PostgresDecodingError)
        -> Value
    {
        try decode(try column(name, Value.self), as: type)
    }

    /// The column's value, or nil for NULL.
    ///
    /// - Throws: ``PostgresDecodingError`` for another type, and for a missing column.
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
