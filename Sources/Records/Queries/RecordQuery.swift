public import Foundation
public import Model

/// A question about records as a client put it: names are text, and nothing is looked up.
///
/// `$filter` and its like, FetchXML and SQL all become one of these; ``QueryPlan`` is where names, privileges and encrypted
/// attributes are checked, for all three alike.
public struct RecordQuery: Sendable {
    /// What to give of each record; empty for every attribute that may be read.
    public var outputs: [Output] = []
    public var links: [Link] = []
    public var filter: Filter?
    public var order: [Order] = []
    /// What rows are grouped by. A query with groups or aggregates gives rows that are no records.
    public var groups: [Group] = []
    public var isDistinct = false
    /// Whether records bring their ids and versions along, asked for or not.
    public var identifiesRecords = true
    /// Rows over all pages; nil for all.
    public var top: Int?
    /// Rows to leave out first.
    public var offset = 0
    /// Rows of one page.
    public var pageSize = RecordQuery.pageLimit
    /// Where an earlier page of the same query ended.
    public var after: PageToken?
    /// Whether the number of all rows is wanted too.
    public var countsRows = false
    /// The name by which the query's own entity is called in it, if it has one.
    public var alias: String?

    /// What an attribute that is not there is refused with.
    public var unknownAttributeCode = ErrorCode.queryDoesNotFit
    /// Rows for each value of a reference at most, where a query gives the records of several at once.
    var limitPerReference: (column: Column, rows: Int)?
    /// Rows that `pageSize` may ask for.
    var pageSizeLimit = RecordQuery.pageLimit

    /// Rows a page has at most.
    public static let pageLimit = 5_000

    public init() {}

    /// A column: an attribute, reached over navigation properties or named with a link's alias.
    public struct Column: Sendable, Equatable {
        public var path: [String]
        public var alias: String?
        public var name: String
        /// Whether the attribute must be a text, because a function of texts is applied to it.
        public var isText = false

        public init(_ name: String, path: [String] = [], alias: String? = nil) {
            self.name = name
            self.path = path
            self.alias = alias
        }
    }

    /// One value of each row.
    public struct Output: Sendable {
        public var value: Value
        /// The name in the answer; nil for the attribute's own.
        public var name: String?
        /// Whether the value is read, and not given.
        public internal(set) var isHidden = false

        /// A value that is read beside those that are given.
        public static func hidden(_ column: Column, name: String? = nil) -> Output {
            var output = Output(.column(column), name: name)
            output.isHidden = true
            return output
        }

        /// What an output is a value of.
        public enum Value: Sendable, Equatable {
            case column(Column)
            case aggregate(Aggregate, Column?)
            /// A part of a date that is also in `groups`.
            case part(DatePart, Column)
        }

        public init(_ value: Value, name: String? = nil) {
            self.value = value
            self.name = name
        }
    }

    /// What rows are grouped by.
    public struct Group: Sendable {
        public var column: Column
        public var part: DatePart?

        public init(_ column: Column, part: DatePart? = nil) {
            self.column = column
            self.part = part
        }
    }

    /// How the values of a group become one; `count` counts rows.
    public enum Aggregate: String, Sendable {
        case count, countColumn, countDistinct, sum, average, minimum, maximum
    }

    /// A part of a date in UTC, by which rows are grouped.
    public enum DatePart: String, Sendable {
        case day, week, month, quarter, year
    }

    /// What rows are sorted by: null lowest, texts regardless of case.
    public struct Order: Sendable {
        public var key: Key
        public var isDescending: Bool

        /// A column, or an output.
        public enum Key: Sendable {
            case column(Column)
            /// The name of an output.
            case output(String)
        }

        public init(_ key: Key, descending: Bool = false) {
            self.key = key
            isDescending = descending
        }
    }

    /// Another entity's records, joined where `to` of the one above equals `from` of the linked one.
    public struct Link: Sendable {
        public var entity: String
        public var from: String
        /// The attribute of the entity above, or of the one that `toAlias` names.
        public var to: String
        public var toAlias: String?
        public var alias: String?
        public var isOuter: Bool
        /// Whether at most one record of the linked ones is joined, the one with the lowest id.
        public var isFirstOnly = false
        /// Whether conditions may name the link by its entity, because it has no alias of the client's.
        public var answersToEntity = false
        public var filter: Filter?
        public var links: [Link] = []

        public init(_ entity: String, from: String, to: String, toAlias: String? = nil, alias: String?, isOuter: Bool = false) {
            self.entity = entity
            self.from = from
            self.to = to
            self.toAlias = toAlias
            self.alias = alias
            self.isOuter = isOuter
        }
    }

    /// Where a page ended: the last row's values of what the rows are sorted by, or the number of rows given.
    ///
    /// The first form does not move when records are inserted or deleted elsewhere.
    public struct PageToken: Sendable, Equatable {
        public var values: [String?] = []
        public var offset = 0
        /// Rows of `top` that are still to be given, if it was asked for.
        public var remaining: Int?

        public init() {}
    }
}

/// A condition on rows, with names and literals as the client wrote them.
public indirect enum Filter: Sendable {
    case all([Filter])
    case any([Filter])
    /// True where the condition is false or, without `isThreeValued`, unknown.
    case not(Filter, isThreeValued: Bool = false)
    case compare(RecordQuery.Column, Comparison, Literal)
    case compareColumns(RecordQuery.Column, Comparison, RecordQuery.Column)
    case isNull(RecordQuery.Column)
    case isIn(RecordQuery.Column, [Literal])
    /// A pattern over the whole text, regardless of case.
    case like(RecordQuery.Column, TextPattern)
    /// From a moment, inclusive, to another, exclusive.
    case within(RecordQuery.Column, Date?, Date?)
    case fiscal(RecordQuery.Column, FiscalCondition)
    /// A record's id by its place in the hierarchy of its entity.
    case hierarchy(RecordQuery.Column, HierarchyPlace, Literal)
    /// A reference to the caller or to something of the caller's.
    case isCallers(RecordQuery.Column, CallersOwn)
    /// Whether a linked record exists, or, with `negated`, none does.
    case exists(RecordQuery.Link, negated: Bool)
    /// Whether a record exists at the other end of a collection-valued navigation property (`any`), or none that fails (`all`).
    case lambda(path: [String], property: String, variable: String, Filter?, isAll: Bool)
    case constant(Bool)

    /// How two values compare, in SQL.
    public enum Comparison: String, Sendable {
        case equal = "="
        /// Null differs from every value.
        case notEqual = "IS DISTINCT FROM"
        /// SQL's own: unknown for null.
        case differs = "<>"
        case less = "<"
        case lessOrEqual = "<="
        case greater = ">"
        case greaterOrEqual = ">="
    }

    /// What of the caller's.
    public enum CallersOwn: Sendable {
        case user, businessUnit
        /// A team that the caller is a member of.
        case teams
        case userOrTeams
    }

    /// Where a record stands, seen from another one of its entity.
    public enum HierarchyPlace: Sendable {
        case above, under
        case atOrAbove, atOrUnder
    }
}

/// A value as a client wrote it; its attribute's type decides what it is.
public enum Literal: Sendable, Equatable {
    case null
    case bool(Bool)
    case number(String)
    /// A text in quotes, or anything else that its attribute's type may read.
    case text(String)
}
