import Foundation
package import Model

/// A client's query for records, with names as text. No name is resolved yet.
///
/// OData options, FetchXML and SQL are all parsed to this type. ``QueryPlan`` then checks names, privileges and encrypted
/// attributes, in the same way for all three languages.
package struct RecordQuery: Sendable {
    /// The columns to return; empty for every attribute that may be read.
    package var outputs: [Output] = []
    package var links: [Link] = []
    package var filter: Filter?
    package var order: [Order] = []
    /// What the rows are grouped by; empty for no groups. A query with groups or aggregates returns rows that are not records.
    package var groups: [Group] = []
    package var isDistinct = false
    /// Whether to return ids and versions of records even if they were not selected.
    package var identifiesRecords = true
    /// How many rows all pages have at most; nil for no limit.
    package var top: Int?
    /// How many rows to skip.
    package var offset = 0
    /// How many rows one page has.
    package var pageSize = RecordQuery.pageLimit
    /// The end of the page before this one; nil for the first page.
    package var after: PageToken?
    /// Whether the result also has the number of rows of all pages.
    package var countsRows = false
    /// Whether sorting by a lookup sorts by the name of the record that it refers to. Queries in SQL sort by the record's id.
    package var sortsLookupsByName = true
    /// The alias of the query's own entity, if it has one.
    package var alias: String?

    /// The error code for an unknown attribute.
    package var unknownAttributeCode = ErrorCode.queryDoesNotFit
    /// For the records of a collection that is expanded: how many rows to return for each value of `column`, which refers to the
    /// enclosing record.
    var limitPerReference: (column: Column, rows: Int)?
    /// The greatest allowed `pageSize`.
    var pageSizeLimit = RecordQuery.pageLimit

    /// How many rows a page has at most.
    package static let pageLimit = 5_000

    package init() {}

    /// If a query for distinct rows names no columns, adds all columns that can be compared: not encrypted attributes, and not
    /// pictures. A query without links is no longer distinct afterwards, because its rows have ids and so all differ.
    mutating func nameDistinctColumns(of entity: EntityDefinition) {
        guard isDistinct, groups.isEmpty, outputs.allSatisfy(\.isHidden) else { return }
        guard !links.isEmpty else { return isDistinct = false }
        outputs += entity.attributes.filter { $0.validFor.contains(.read) && !$0.isEncrypted && !$0.type.isImage }
            .map { .init(.column(.init($0.logicalName))) }
    }

    /// Whether the query returns at least one of the attributes of its own entity that have these logical names.
    package func reads(_ names: Set<String>) -> Bool {
        guard !outputs.isEmpty else { return !names.isEmpty }
        return outputs.contains { output in
            guard case .column(let column) = output.value else { return false }
            return names.contains(column.name.lowercased())
        }
    }

    /// Whether rows are groups, aggregates or distinct values, and not records.
    package var isGrouped: Bool { isDistinct || !groups.isEmpty || outputs.contains(where: \.isAggregate) }

    /// A column: an attribute, reached by navigation properties or by a link's alias.
    package struct Column: Sendable, Equatable {
        package var path: [String]
        package var alias: String?
        package var name: String
        /// Whether the attribute must be a text, because a text function is applied to it.
        package var isText = false
        /// Whether the attribute is a lookup, and the column is the name of the record that it refers to.
        package private(set) var isName = false

        /// The name of the record that a lookup refers to.
        package static func name(of lookup: String, path: [String] = [], alias: String? = nil) -> Column {
            var column = Column(lookup, path: path, alias: alias)
            column.isName = true
            return column
        }

        package init(_ name: String, path: [String] = [], alias: String? = nil) {
            self.name = name
            self.path = path
            self.alias = alias
        }
    }

    /// One column of the result.
    package struct Output: Sendable {
        package var value: Value
        /// The column's name in the response; nil for the name of the attribute.
        package var name: String?
        /// Whether the column is read but not returned.
        package internal(set) var isHidden = false

        /// A column that is read but not returned.
        package static func hidden(_ column: Column, name: String? = nil) -> Output {
            var output = Output(.column(column), name: name)
            output.isHidden = true
            return output
        }

        /// The smallest of a group's texts, which is read but not returned.
        package static func hiddenMinimum(_ column: Column, name: String) -> Output {
            var output = Output(.aggregate(.minimum, column), name: name)
            output.isHidden = true
            return output
        }

        /// The source of a column.
        package enum Value: Sendable, Equatable {
            case column(Column)
            case aggregate(Aggregate, Column?)
            /// A part of a date that is also in `groups`.
            case part(DatePart, Column)
        }

        package init(_ value: Value, name: String? = nil) {
            self.value = value
            self.name = name
        }
    }

    /// What to group rows by.
    package struct Group: Sendable {
        package var column: Column
        package var part: DatePart?

        package init(_ column: Column, part: DatePart? = nil) {
            self.column = column
            self.part = part
        }
    }

    /// An aggregate of a group's values; `count` counts rows.
    package enum Aggregate: String, Sendable {
        case count, countColumn, countDistinct, sum, average, minimum, maximum
    }

    /// A part of a date in UTC, to group rows by.
    package enum DatePart: String, Sendable {
        case day, week, month, quarter, year
    }

    /// What to sort rows by. Nulls are first in ascending order, and case is ignored.
    package struct Order: Sendable {
        package var key: Key
        package var isDescending: Bool

        /// A column, or an output.
        package enum Key: Sendable {
            case column(Column)
            /// The name of an output.
            case output(String)
        }

        package init(_ key: Key, descending: Bool = false) {
            self.key = key
            isDescending = descending
        }
    }

    /// A join with another entity: `to` of the enclosing entity equals `from` of the linked entity.
    package struct Link: Sendable {
        package var entity: String
        package var from: String
        /// The attribute of the enclosing entity, or of the link with the alias `toAlias`.
        package var to: String
        package var toAlias: String?
        package var alias: String?
        package var isOuter: Bool
        /// Whether to join only one linked record, the one with the lowest id.
        package var isFirstOnly = false
        /// Whether conditions may use the entity's name for the link, because the client gave no alias.
        package var answersToEntity = false
        package var filter: Filter?
        package var links: [Link] = []

        package init(_ entity: String, from: String, to: String, toAlias: String? = nil, alias: String?, isOuter: Bool = false) {
            self.entity = entity
            self.from = from
            self.to = to
            self.toAlias = toAlias
            self.alias = alias
            self.isOuter = isOuter
        }
    }

    /// The end of a page: the last row's sort values, or the number of rows so far.
    ///
    /// With sort values, rows that are inserted or deleted between two pages do not move the position.
    package struct PageToken: Sendable, Equatable {
        package var values: [String?] = []
        package var offset = 0
        /// How many rows of `top` are left; nil without `top`.
        package var remaining: Int?

        package init() {}
    }
}
