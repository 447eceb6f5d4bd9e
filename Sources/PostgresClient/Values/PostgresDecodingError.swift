import CLibPQ
import Foundation

/// A column has another type or value than the code expects. The error has the column and type, but no value.
public struct PostgresDecodingError: Error, Sendable, CustomStringConvertible {
    /// The column's name in the result.
    public let column: String
    /// The Swift type that was asked for.
    public let expected: String
    /// The column's type, as an object id of `pg_type`.
    public let typeID: UInt32

    /// The column, its type (an OID) and the expected Swift type. The description has no value of the row.
    public var description: String { "column \(column) (type \(typeID)) does not hold a \(expected)" }
}
