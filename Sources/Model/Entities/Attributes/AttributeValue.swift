package import Foundation
package import PostgresClient

/// The value of an attribute that is not encrypted.
package enum AttributeValue: Sendable, Equatable {
    case null
    case text(String)
    case int(Int64)
    case bool(Bool)
    case decimal(String)
    case date(Date)
    case id(UUID)
    case bytes([UInt8])
}

extension AttributeType {
    /// The parameter for `value` in a column of this type.
    package func parameter(_ value: AttributeValue) -> PostgresParameter {
        switch (self, value) {
        case (.string, .text(let text)), (.memo, .text(let text)), (.entityName, .text(let text)): .text(text)
        case (.string, _), (.memo, _), (.entityName, _): .text(nil)
        case (.boolean, .bool(let flag)): .bool(flag)
        case (.boolean, _): .bool(nil)
        case (.integer, .int(let number)), (.picklist, .int(let number)), (.state, .int(let number)),
            (.status, .int(let number)):
            .int32(Int32(truncatingIfNeeded: number))
        case (.integer, _), (.picklist, _), (.state, _), (.status, _): .int32(nil)
        case (.bigInt, .int(let number)): .int64(number)
        case (.bigInt, _): .int64(nil)
        case (.decimal, .decimal(let text)): .text(text)
        case (.decimal, _): .text(nil)
        case (.dateTime, .date(let date)): .timestamp(date)
        case (.dateTime, _): .timestamp(nil)
        case (.lookup, .id(let id)), (.owner, .id(let id)), (.uniqueIdentifier, .id(let id)): .uuid(id)
        case (.lookup, _), (.owner, _), (.uniqueIdentifier, _): .uuid(nil)
        case (.image, .bytes(let bytes)): .bytes(bytes)
        case (.image, _): .bytes(nil)
        }
    }

    /// Whether SQL has to cast a placeholder of this type to `numeric`, and a column to `text`.
    package var isNumeric: Bool { if case .decimal = self { true } else { false } }

    /// Reads a column of this type. A decimal that is not finite is null.
    package func value(in row: PostgresRow, column: Int) throws -> AttributeValue {
        if row.isNull(column) { return .null }
        switch self {
        case .string, .memo, .entityName: return .text(try row.decode(column))
        case .boolean: return .bool(try row.decode(column))
        case .integer, .bigInt, .picklist, .state, .status: return .int(Int64(try row.decode(column, as: Int.self)))
        case .decimal: return try row.isFinite(column) ? .decimal(row.decode(column)) : .null
        case .dateTime: return .date(try row.decode(column))
        case .lookup, .owner, .uniqueIdentifier: return .id(try row.decode(column))
        case .image: return .bytes(try row.decode(column, as: PostgresBytes.self).bytes)
        }
    }
}

extension PostgresRow {
    /// Whether a decimal that is not NULL, as text, is finite. SQL can store `NaN`, which neither JSON nor XML Schema's decimal has. Only
    /// a finite number ends with a digit.
    package func isFinite(_ column: Int) -> Bool {
        withBytes(column) { text in text.last.map { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ?? false }
    }
}
