public import Foundation

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
    var limitPerReference: (attribute: String, rows: Int)?
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
        var isHidden = false

        /// A value that is read beside those that are given.
        public static func hidden(_ column: Column) -> Output {
            var output = Output(.column(column))
            output.isHidden = true
            return output
        }

        /// What an output is a value of.
        public enum Value: Sendable {
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
    /// A reference to the caller or to something that belongs to them.
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

/// What a text must look like.
public struct TextPattern: Sendable, Equatable {
    /// Of `LIKE`, with `\` as the escape.
    let pattern: String

    public static func contains(_ text: String) -> TextPattern { TextPattern(pattern: "%\(escaped(text))%") }
    public static func starts(with text: String) -> TextPattern { TextPattern(pattern: "\(escaped(text))%") }
    public static func ends(with text: String) -> TextPattern { TextPattern(pattern: "%\(escaped(text))") }

    /// A pattern of SQL's, where `[%]` stands for the character itself.
    ///
    /// - Returns: Nil for a set or a range of characters, which is not supported.
    public static func sql(_ pattern: String) -> TextPattern? {
        var result = ""
        var rest = Substring(pattern)
        while let character = rest.popFirst() {
            switch character {
            case "[":
                guard let literal = rest.popFirst(), rest.popFirst() == "]" else { return nil }
                result += escaped(String(literal))
            case "\\": result += "\\\\"
            default: result.append(character)
            }
        }
        return TextPattern(pattern: result)
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("%", with: "\\%").replacing("_", with: "\\_")
    }
}
