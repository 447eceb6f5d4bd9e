import Foundation
import HTTPTypes
import JSON
import Model
import Records

// FetchXML and SQL queries, which are options of a collection.
extension DataAPI {
    private static let cookie = "Microsoft.Dynamics.CRM.fetchxmlpagingcookie"
    private static let more = "Microsoft.Dynamics.CRM.morerecords"

    func fetch(_ text: String, _ entity: EntityDefinition, _ request: APIRequest) async throws -> APIResponse {
        let fetch = try FetchParser(text)
        try require(fetch.entity, entity)
        var query = fetch.query
        query.unknownAttributeCode = .noSuchAttribute
        let preferences = request.preferences
        // With `top`, all rows are one page, as in Dataverse. Later rows can't be read.
        let isSizedHere = fetch.count != nil || query.top != nil
        if !isSizedHere, let size = preferences.maxPageSize {
            query.pageSize = min(size, RecordQuery.pageLimit)
            query.offset = (fetch.page - 1) * query.pageSize
        }
        if !preferences.annotations.isEmpty { query.addNames(in: entity) }
        let page = try await session.list(entity, query, mayUseStandby: true)
        var annotations: [JSONValue.Member] = []
        if let count = page.count {
            annotations.append(.init("@\(Preferences.total)", .integer(Int64(count))))
            annotations += preferences.annotations(of: count).filter { $0.name != "@\(Preferences.total)" }
        }
        if preferences.wants(Self.more) { annotations.append(.init("@\(Self.more)", .bool(page.next != nil))) }
        if let next = page.next, preferences.wants(Self.cookie) {
            annotations.append(
                .init("@\(Self.cookie)", .string(PagingCookie.annotation(next, nextPage: fetch.page + 1, of: fetch.mark))))
        }
        return try await writing(page) { [annotations] in
            APIResponse.json(
                try representation(request).page(page, nextLink: nil, annotations: annotations),
                headers: HTTPFields().applying(preferences.applied(isSizedByQuery: isSizedHere)))
        }
    }

    func sql(_ text: String, _ entity: EntityDefinition, _ options: ODataQuery, _ request: APIRequest) async throws -> APIResponse {
        let select = try SQLParser.parse(text)
        try require(select.entity, entity)
        var query = select.query
        query.unknownAttributeCode = .noSuchAttribute
        query.after = options.query.after
        query.identifiesRecords = false
        if !request.preferences.annotations.isEmpty { query.addNames(in: entity) }
        query = options.paged(query, size: min(request.preferences.maxPageSize ?? RecordQuery.pageLimit, RecordQuery.pageLimit))
        let page = try await session.list(entity, query, mayUseStandby: true)
        let nextLink = page.next.map { "\(serviceRoot)/\(entity.entitySetName)?\(options.next($0))" }
        return try await writing(page) {
            APIResponse.json(
                try representation(request).page(page, nextLink: nextLink),
                headers: HTTPFields().applying(request.preferences.applied))
        }
    }

    private func require(_ name: String, _ entity: EntityDefinition) throws(FieldsealError) {
        guard name == entity.logicalName else {
            throw FieldsealError(
                .queryDoesNotFit, "The query is about another entity than the address, which is \(entity.logicalName)'s.")
        }
    }
}
