import Foundation
package import Model
import PostgresClient

/// The records at the other end of a navigation property.
package struct ExpandedProperty: Sendable {
    package let name: String
    package let isCollection: Bool
    /// Whether only the addresses of the records are requested.
    package let isReference: Bool
    package let referenced: EntityDefinition
    /// Whether the property is an owner, whose record may be a user or a team.
    package let isOfOwner: Bool
    private let reference: String
    private let asked: [String]?
    let page: RecordPage
    /// For a property whose records may be users or teams: the same property with the records of the other one of these two
    /// entities.
    var alternatives: [ExpandedProperty] = []
    private let byKey: [UUID: [Record]]

    init(_ request: Expansion, _ way: ExpansionWay, _ page: RecordPage) throws {
        name = request.property
        isReference = request.isReference
        isCollection = way.isCollection
        self.page = page
        referenced = way.target
        isOfOwner = if case .single(let relationship) = way { relationship.isOfOwner } else { false }
        reference = way.reference
        asked = request.asked
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

    /// The selected columns of the expanded records, for `@odata.context`.
    package var contextColumns: String {
        let inner = page.expanded.map { "\($0.name)(\($0.contextColumns))" }
        let own = asked?.joined(separator: ",") ?? page.shape.contextColumns
        return ((own.isEmpty ? [] : [own]) + inner).joined(separator: ",")
    }
}
