package import Foundation
import Model

/// A condition on rows, with names and literals as the client wrote them.
package indirect enum Filter: Sendable {
    case all([Filter])
    case any([Filter])
    /// True if the condition is false. If the condition is unknown, the result is unknown with `isThreeValued`, as in SQL, and true
    /// without it.
    case not(Filter, isThreeValued: Bool = false)
    case compare(RecordQuery.Column, Comparison, Literal)
    case compareColumns(RecordQuery.Column, Comparison, RecordQuery.Column)
    case isNull(RecordQuery.Column)
    case isIn(RecordQuery.Column, [Literal])
    /// Whether the whole text matches a pattern, regardless of case.
    case like(RecordQuery.Column, TextPattern)
    /// Whether a date is in a range: from one moment (inclusive) to another (exclusive). Nil for an open end.
    case within(RecordQuery.Column, Date?, Date?)
    case fiscal(RecordQuery.Column, FiscalCondition)
    /// Whether the record with the id in the column is above or under another record in the hierarchy of its entity.
    case hierarchy(RecordQuery.Column, HierarchyPlace, Literal)
    /// Whether the column refers to the caller, or to the caller's business unit or teams.
    case isCallers(RecordQuery.Column, CallersOwn)
    /// Whether a linked record exists or, with `negated`, does not.
    case exists(RecordQuery.Link, negated: Bool)
    /// A condition on the records of a collection-valued navigation property: for one of them (`any`), or for each (`all`).
    case lambda(Collection, variable: String, Filter?, isAll: Bool)
    case constant(Bool)

    /// The comparison of two values in SQL.
    package enum Comparison: String, Sendable {
        case equal = "="
        /// Null differs from every value.
        case notEqual = "IS DISTINCT FROM"
        /// The operator of SQL, whose result is unknown for null.
        case differs = "<>"
        case less = "<"
        case lessOrEqual = "<="
        case greater = ">"
        case greaterOrEqual = ">="
    }

    /// A collection-valued navigation property of a record.
    package struct Collection: Sendable {
        /// The variable or the alias that the path begins at; nil for the query's own record.
        let alias: String?
        /// Single-valued navigation properties that lead to the record.
        let path: [String]
        let property: String

        package init(_ property: String, path: [String], alias: String? = nil) {
            self.alias = alias
            self.path = path
            self.property = property
        }
    }

    /// What a reference to the caller means.
    package enum CallersOwn: Sendable {
        case user, businessUnit
        /// A team that the caller is a member of.
        case teams
        case userOrTeams
    }

    /// The position of a record relative to another record of its entity.
    package enum HierarchyPlace: Sendable {
        case above, under
        case atOrAbove, atOrUnder
    }
}
