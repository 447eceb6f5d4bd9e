import CLibPQ
import Foundation

/// One row of a result.
public struct PostgresRow: Sendable {
    @usableFromInline let result: PostgresResult
    let index: Int32

    /// How many bytes libpq has in memory for the whole result of the statement that returned this row.
    public var resultLength: Int { PQresultMemorySize(result.pointer) }

    /// Whether the column is NULL. Columns are counted from 0.
    public func isNull(_ column: Int) -> Bool { PQgetisnull(result.pointer, index, Int32(column)) == 1 }

    /// The column's value, which must not be NULL.
    ///
    /// - Throws: ``PostgresDecodingError`` for NULL and for a type that does not fit.
    @inlinable
    public func decode<Value: PostgresDecodable>(_ column: Int, as type: Value.Type = Value.self) throws(PostgresDecodingError)
        -> Value
    {
        guard let value = try decodeIfPresent(column, as: type) else { throw error(column, Value.self) }
        return value
    }

    /// The column's value, or nil for NULL.
    ///
    /// - Throws: ``PostgresDecodingError`` for a type that does not fit.
    @inlinable
    public func decodeIfPresent<Value: PostgresDecodable>(
        _ column: Int,
        as type: Value.Type = Value.self
    ) throws(PostgresDecodingError) -> Value? {
        guard let field = field(column) else {
            if column >= result.columnCount { throw error(column, Value.self) }
            return nil
        }
        guard let value = Value(postgresBinary: field.bytes, type: field.type) else { throw error(column, Value.self) }
        return value
    }

    /// The column's bytes and type; nil for NULL and for a missing column.
    @usableFromInline
    func field(_ column: Int) -> (bytes: UnsafeRawBufferPointer, type: UInt32)? {
        let column = Int32(column)
        guard column < PQnfields(result.pointer), PQgetisnull(result.pointer, index, column) == 0 else { return nil }
        return (bytes(column), PQftype(result.pointer, column))
    }

    private func bytes(_ column: Int32) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            start: PQgetvalue(result.pointer, index, column), count: Int(PQgetlength(result.pointer, index, column)))
    }

    /// Passes the bytes of a column to `body`, as the server sent them. The column must not be NULL.
    public func withBytes<Result>(_ column: Int, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try body(bytes(Int32(column)))
    }

    @usableFromInline
    func error(_ column: Int, _ type: Any.Type) -> PostgresDecodingError {
        let name = PQfname(result.pointer, Int32(column)).map { String(cString: $0) } ?? "?"
        return PostgresDecodingError(column: name, expected: "\(type)", typeID: PQftype(result.pointer, Int32(column)))
    }
}
