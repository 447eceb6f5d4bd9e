package import Foundation
import JSON
package import Model

// Queries for the records of an association.
extension Association {
    /// The condition for records of the other entity that are linked with a record.
    package func members(of id: UUID) -> Filter {
        var link = RecordQuery.Link(
            relationship.intersect.logicalName, from: other.primaryID, to: other.primaryID, alias: nil)
        link.filter = .compare(.init(own.primaryID), .equal, .text(id.text))
        return .exists(link, negated: false)
    }

    /// Joins the other entity's records with their link rows. The link rows have ``ownID``.
    var link: RecordQuery.Link {
        RecordQuery.Link(
            relationship.intersect.logicalName, from: other.primaryID, to: other.primaryID, alias: Self.alias)
    }

    /// The id of the record that a linked record belongs to.
    var ownID: RecordQuery.Column { RecordQuery.Column(own.primaryID, alias: Self.alias) }

    /// The alias of the link rows in a query. No client can use it.
    static let alias = "@association"
}
