import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

/// A query that was checked against metadata and privileges, as SQL with parameters.
struct QueryPlan {
    let sql: String
    let parameters: [PostgresParameter]
    /// The statement that counts the rows of all pages; nil if the count was not requested.
    let count: (sql: String, parameters: [PostgresParameter])?
    let shape: RowShape
    /// The largest number of rows of this page. The statement asks for one row more, which shows whether there is a next page.
    let pageLimit: Int
    /// How the token for the next page is made from a page's last row.
    let paging: Paging

    enum Paging {
        /// The rows are sorted by these columns. The token has the last row's values of these columns, as texts.
        case keys([Int])
        /// The offset of the next page: the number of rows up to the end of this page, if it is full.
        case offset(Int)
    }

    /// - Throws: ``FieldsealError`` for a query that does not fit the metadata, or exceeds the caller's privileges or a limit.
    init(
        _ query: RecordQuery,
        of entity: EntityDefinition,
        _ organization: Organization,
        _ caller: Caller
    ) throws(FieldsealError) {
        let wanted = query.after?.remaining ?? query.top
        pageLimit = min(wanted ?? .max, max(1, min(query.pageSize, query.pageSizeLimit)))
        let isGrouped = query.isGrouped
        var writer = try SelectWriter(query, of: entity, organization, caller)
        if isGrouped {
            (sql, shape) = try writer.grouped(limit: pageLimit)
            paging = .offset((query.after?.offset ?? query.offset) + pageLimit)
        } else {
            let (sql, shape, keys) = try writer.records(limit: pageLimit)
            (self.sql, self.shape) = (sql, shape)
            paging = .keys(keys)
        }
        parameters = writer.statement.parameters
        count = query.countsRows ? try Self.count(query, entity, organization, caller, isGrouped) : nil
    }

    private static func count(
        _ query: RecordQuery,
        _ entity: EntityDefinition,
        _ organization: Organization,
        _ caller: Caller,
        _ isGrouped: Bool
    ) throws(FieldsealError) -> (String, [PostgresParameter]) {
        var query = query
        query.after = nil
        query.order = []
        var writer = try SelectWriter(query, of: entity, organization, caller)
        let sql = isGrouped ? "SELECT count(*) FROM (\(try writer.grouped(limit: nil).sql)) AS q" : try writer.rowCount()
        return (sql, writer.statement.parameters)
    }

    /// The token for the next page, after a page that ends with `row`.
    func token(after row: PostgresRow, remaining: Int?) throws -> RecordQuery.PageToken {
        var token = RecordQuery.PageToken()
        token.remaining = remaining
        switch paging {
        case .keys(let columns):
            token.values = try columns.map { column in
                if shape.idColumns.contains(column), !row.isNull(column) { return try row.decode(column, as: UUID.self).text }
                return try row.decodeIfPresent(column, as: String.self)
            }
        case .offset(let offset): token.offset = offset
        }
        return token
    }
}

extension RecordQuery.Output {
    var isAggregate: Bool { if case .column = value { false } else { true } }
}

extension AttributeType.Kind {
    /// Whether PostgreSQL accepts the text as a value of this type.
    func reads(_ text: String) -> Bool {
        switch self {
        case .text: !text.utf8.contains(0)
        case .integer: Int64(text) != nil
        case .boolean: text == "true" || text == "false"
        case .decimal: text == "NaN" || AttributeType.isDecimal(text)
        case .date:
            ["infinity", "-infinity"].contains(text)
                || text.count < 40
                    && text.wholeMatch(of: /\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d(:\d\d){0,2}( BC)?/) != nil
        case .id: UUID(text: text) != nil
        case .bytes: false
        }
    }
}
