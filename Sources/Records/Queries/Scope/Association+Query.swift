package import Foundation
import JSON
package import Model

// Queries for the records of an association.
extension Association {
    /// The condition for the records of ``other`` that are linked with the record `id` of ``own``.
    package func members(of id: UUID) -> Filter {
        var link = RecordQuery.Link(
            relationship.intersect.logicalName, from: other.primaryID, to: other.primaryID, alias: nil)
        link.filter = .compare(.init(own.primaryID), .equal, .text(id.text))
        return .exists(link, negated: false)
    }

    /// Joins the records of ``other`` with their link rows. ``ownID`` is a column of the link rows.
    var link: RecordQuery.Link {
        RecordQuery.Link(
            relationship.intersect.logicalName, from: other.primaryID, to: other.primaryID, alias: Self.alias)
    }

    /// The column of a link row with the id of the record of ``own``.
    var ownID: RecordQuery.Column { RecordQuery.Column(own.primaryID, alias: Self.alias) }

    /// The alias of the link rows in a query. Clients can't use this alias.
    static let alias = "@association"
}
