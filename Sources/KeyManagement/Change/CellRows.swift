package import Foundation
package import Model
package import PostgresClient
package import Tenancy

/// SQL to copy the rows of an entity's generation with COPY. A row has a key version, the record's id, and its cells.
package struct CellRows: Sendable {
    private let columns: String
    private let partition: String
    private let keyVersion: Int32

    package init(of entity: EntityDefinition, _ attributes: [String]? = nil, in organization: Organization, keyVersion: Int) {
        let names = attributes ?? entity.encryptedAttributes.map(\.logicalName)
        columns = ([entity.idColumn] + names.map(quoteIdentifier)).joined(separator: ", ")
        partition = organization.qualified("\(entity.cellTable)_k\(keyVersion)")
        self.keyVersion = Int32(keyVersion)
    }

    /// A query for the id and the cells.
    package var query: String { "SELECT \(columns) FROM \(partition)" }

    /// The query as a source for COPY.
    var source: String { "(\(query))" }

    /// A target for COPY: the key version, the id and the cells.
    package var target: String { "\(partition) (key_version, \(columns))" }

    /// Appends a row of the target.
    package func append(_ cells: [[UInt8]?], of record: UUID, to rows: inout BinaryCopyRows) {
        rows.begin(cells: cells.count, of: record, keyVersion: keyVersion)
        for cell in cells { rows.append(cell) }
    }
}

extension BinaryCopyRows {
    /// Begins a row of a generation. The caller must append `count` cells next.
    mutating func begin(cells count: Int, of record: UUID, keyVersion: Int32) {
        begin(fields: count + 2)
        append(keyVersion)
        append(record)
    }
}
