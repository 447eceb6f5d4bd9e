import Foundation
import JSON
import Model

/// The relationship by which expanded records are found.
enum ExpansionWay: Sendable {
    /// Each enclosing record has a lookup that refers to its expanded record.
    case single(EntityRelationship)
    /// Each expanded record has a lookup that refers to its enclosing record.
    case collection(EntityRelationship)
    /// The links of a many-to-many relationship connect enclosing and expanded records.
    case association(Association)

    /// The relationship of a navigation property; nil if the entity has no such property.
    init?(_ property: String, of entity: EntityDefinition) {
        if let relationship = entity.singleValued(property) {
            self = .single(relationship)
        } else if let relationship = entity.collectionValued(property) {
            self = .collection(relationship)
        } else if let association = entity.association(property) {
            self = .association(association)
        } else {
            return nil
        }
    }

    var isCollection: Bool { if case .single = self { false } else { true } }

    /// The entity at the other end.
    var target: EntityDefinition {
        switch self {
        case .single(let relationship): relationship.referenced
        case .collection(let relationship): relationship.referencing
        case .association(let association): association.other
        }
    }

    /// The name of the value that connects an enclosing record with its expanded records. For `.single` the enclosing record has
    /// this value, otherwise the expanded record.
    var reference: String {
        switch self {
        case .single(let relationship), .collection(let relationship): relationship.attribute.logicalName
        case .association: Association.alias
        }
    }

    /// The column by which expanded records are found.
    private var column: RecordQuery.Column {
        switch self {
        case .single(let relationship): .init(relationship.referenced.primaryID)
        case .collection(let relationship): .init(relationship.attribute.logicalName)
        case .association(let association): association.ownID
        }
    }

    /// The query for the records that belong to the enclosing records.
    ///
    /// - Parameter keys: The values of ``column``.
    func query(_ asked: RecordQuery, for keys: [UUID], limit: Int) -> RecordQuery {
        var query = asked
        query.filter = .all([.isIn(column, keys.map { .text($0.text) })] + (query.filter.map { [$0] } ?? []))
        query.pageSizeLimit = limit
        query.pageSize = limit
        query.top = nil
        guard isCollection else { return query }
        query.limitPerReference = (column, min(asked.top ?? RecordQuery.pageLimit, RecordQuery.pageLimit))
        if case .association(let association) = self {
            query.links.append(association.link)
            query.outputs.append(.hidden(column, name: reference))
        } else {
            query.outputs.append(.hidden(column))
        }
        return query
    }
}
