package import Foundation
package import Model
import PostgresClient

/// A row of a query's result: a record as the caller may see it, or a group of records.
///
/// Encrypted attributes are always null, because they are not read.
package struct Record: Sendable {
    package let shape: RowShape
    let row: PostgresRow
    package let id: UUID
    /// A number that changes with every write of the record, including its encrypted attributes, but not with a key change.
    package let versionNumber: Int64

    init(_ shape: RowShape, _ row: PostgresRow) throws {
        self.shape = shape
        self.row = row
        guard shape.hasRecords else {
            (id, versionNumber) = (UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), 0)
            return
        }
        id = try row.decode(0)
        versionNumber = Int64(try row.decode(1, as: Int.self))
    }

    /// The value in a column of the shape.
    package func value(_ column: RowShape.Column) throws -> AttributeValue {
        guard let index = column.index else { return .null }
        return try column.type.value(in: row, column: index)
    }

    /// The value of an attribute that the query returns, by its logical name or its name in the response; null for any other name.
    package func value(of attribute: String) throws -> AttributeValue {
        guard
            let column = shape.columns.first(where: {
                $0.attribute?.logicalName == attribute && !$0.isRenamed || $0.name == attribute
            })
        else { return .null }
        return try value(column)
    }

    /// The weak entity tag of the version (RFC 9110 section 8.8.3).
    package var etag: String { "W/\"\(versionNumber)\"" }
}
