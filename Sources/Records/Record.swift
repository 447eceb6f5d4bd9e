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
    /// Changes with every write of the record, including its encrypted attributes, but not with a key change.
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

    /// The value of an attribute that was asked for.
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

/// A page of a query's result, with expanded records.
package struct RecordPage: Sendable {
    package let shape: RowShape
    package let records: [Record]
    /// The token of the next page; nil on the last one.
    package let next: RecordQuery.PageToken?
    /// The number of rows of all pages, if it was requested.
    package internal(set) var count: Int?
    package internal(set) var expanded: [ExpandedProperty] = []
}

extension RecordPage {
    /// The records of the page, and their expanded records.
    package var recordCount: Int {
        records.count
            + expanded.reduce(0) { $0 + $1.page.recordCount + $1.alternatives.reduce(0) { $0 + $1.page.recordCount } }
    }
}

/// The records at the other end of a navigation property.
package struct ExpandedProperty: Sendable {
    package let name: String
    package let isCollection: Bool
    /// Whether only the addresses of the records are requested.
    package let isReference: Bool
    package let referenced: EntityDefinition
    private let reference: String
    let page: RecordPage
    /// The same property's records of other entities, because an owner is a user or a team.
    var alternatives: [ExpandedProperty] = []
    private let byKey: [UUID: [Record]]

    init(_ request: Expansion, _ way: ExpansionWay, _ page: RecordPage) throws {
        name = request.property
        isReference = request.isReference
        isCollection = way.isCollection
        self.page = page
        referenced = way.target
        reference = way.reference
        byKey = try Dictionary(grouping: page.records) { record in
            if way.isCollection, case .id(let parent) = try record.value(of: way.reference) { return parent }
            return record.id
        }
    }

    /// The related records of a record, with their own expansions.
    package func records(of record: Record) throws -> (records: [Record], expanded: [ExpandedProperty]) {
        if isCollection { return (byKey[record.id] ?? [], page.expanded) }
        guard case .id(let id) = try record.value(of: reference) else { return ([], page.expanded) }
        if let found = byKey[id] { return (found, page.expanded) }
        for alternative in alternatives {
            let (records, expanded) = try alternative.records(of: record)
            if !records.isEmpty { return (records, expanded) }
        }
        return ([], page.expanded)
    }

    /// The selected columns of its records, for `@odata.context`.
    package var contextColumns: String {
        let inner = page.expanded.map { "\($0.name)(\($0.contextColumns))" }
        return ((page.shape.contextColumns.isEmpty ? [] : [page.shape.contextColumns]) + inner).joined(separator: ",")
    }
}

/// The key by which a client names a record.
package enum RecordKey: Sendable {
    case id(UUID)
    /// The values of an alternate key.
    case alternate([(name: String, value: Literal)])
}

/// The result of a write.
package struct WriteOutcome: Sendable {
    package let id: UUID
    package let versionNumber: Int64
    /// Whether the record is new.
    package let isCreated: Bool
    /// The subject of a submitted e-mail.
    package var subject: String?
}

/// The condition of a write (RFC 9110 section 13.1).
package enum WriteCondition: Sendable, Equatable {
    /// Create or update.
    case none
    /// `If-Match: *`: update only.
    case mustExist
    /// `If-None-Match: *`: create only.
    case mustNotExist
    /// `If-Match: W/"…"`: update this version only.
    case version(Int64)
    /// Update only if the lookup with this name refers to the record with the id.
    case refersTo(String, UUID)
}
