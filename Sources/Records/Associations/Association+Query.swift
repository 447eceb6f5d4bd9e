public import Foundation
public import Model

// How a query reaches the records that a many-to-many relationship links.
extension Association {
    /// The condition on records of the other entity that they are linked with a record.
    public func members(of id: UUID) -> Filter {
        package var link = RecordQuery.Link(
            relationship.intersect.logicalName, from: other.primaryID, to: other.primaryID, alias: nil)
        link.filter = .compare(.init(own.primaryID), .equal, .text(id.text))
        return .exists(link, negated: false)
    }

    /// The links of the other entity's records, by which ``ownID`` is reached.
    package var link: RecordQuery.Link {
        RecordQuery.Link(
            relationship.intersect.logicalName, from: other.primaryID, to: other.primaryID, alias: Self.alias)
    }

    /// The id of the record that a linked one belongs to.
    package var ownID: RecordQuery.Column { RecordQuery.Column(own.primaryID, alias: Self.alias) }

    /// What the links are called in a query. No client can write it.
    package static let alias = "@association"
}
