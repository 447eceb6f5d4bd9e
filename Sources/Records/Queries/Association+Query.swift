public import Foundation
import JSON
public import Model

// How the records that are linked are found.
extension Association {
    /// The condition on records of the other entity that they are linked with a record.
    public func members(of id: UUID) -> Filter {
        var link = RecordQuery.Link(
            relationship.intersect.logicalName, from: other.primaryID, to: other.primaryID, alias: nil)
        link.filter = .compare(.init(own.primaryID), .equal, .text(id.text))
        return .exists(link, negated: false)
    }

    /// The links of the other entity's records, by which ``ownID`` is reached.
    var link: RecordQuery.Link {
        RecordQuery.Link(
            relationship.intersect.logicalName, from: other.primaryID, to: other.primaryID, alias: Self.alias)
    }

    /// The id of the record that a linked one belongs to.
    var ownID: RecordQuery.Column { RecordQuery.Column(own.primaryID, alias: Self.alias) }

    /// What the links are called in a query. No client can write it.
    static let alias = "@association"
}
