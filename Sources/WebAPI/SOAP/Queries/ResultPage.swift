import Model
import Records

/// A page of a query's result, as it is written to the response.
struct ResultPage: Sendable {
    let page: RecordPage
    let columns: ResultColumns
    /// The number of the page, from 1.
    var number = 1
    /// Identifies the query in its paging cookie.
    var mark = ""
    /// Cached columns and markup of a record for Retrieve; nil for a list.
    var retrieved: RetrievedColumns?

    /// The namespaces that records need, in the order of their prefixes.
    static let namespaces = [Contract.xrm, XMLNamespace.instance, Contract.pairs, XMLNamespace.schema]

    private func contracts(_ writer: ContractWriter) -> RecordContracts {
        let prefixes = RecordContracts.Prefixes(
            xrm: writer.letter(of: Contract.xrm), pairs: writer.letter(of: Contract.pairs),
            schema: writer.letter(of: XMLNamespace.schema))
        return retrieved?.contracts(page.shape, prefixes) ?? RecordContracts(columns, page.shape, prefixes)
    }

    /// Writes the contents of the only record's `Entity`.
    func writeFirst(to writer: inout ContractWriter) throws {
        guard let record = page.records.first else { return }
        try contracts(writer).write(record, page.expanded, to: &writer.output)
    }

    /// Writes the contents of an `EntityCollection`.
    func write(to writer: inout ContractWriter) throws {
        var info = RecordContracts.Page()
        info.hasMore = page.next != nil
        info.cookie = page.next.map { PagingCookie.text($0, page: number, of: mark) }
        if let count = page.count { info.total = count }
        try contracts(writer).collection(page.records, page.expanded, info, to: &writer.output)
    }
}

extension OrganizationService {
    /// The page with one record, found by its key.
    func record(_ entity: EntityDefinition, _ key: RecordKey, _ set: ColumnSet) async throws -> ResultPage {
        guard set.expressions.isEmpty else {
            throw FieldsealError(.queryDoesNotFit, "The ColumnSet of Retrieve has no AttributeExpressions.")
        }
        let retrieved = try RetrievedColumns.of(entity, set)
        let page = try await session.retrieve(
            entity, key, retrieved.outputs, expanding: try Self.expansions(retrieved.columns))
        guard !page.records.isEmpty else { throw FieldsealError.noSuchRecord(entity) }
        return ResultPage(page: page, columns: retrieved.columns, retrieved: retrieved)
    }

    private static func expansions(_ columns: ResultColumns) throws(FieldsealError) -> [Expansion] {
        columns.partyLists.isEmpty ? [] : [try RecordContracts.partyExpansion().expansion]
    }

    /// The records of a query: a `QueryExpression`, a `QueryByAttribute` or a `FetchExpression`.
    func list(_ element: XMLElement) async throws -> ResultPage {
        switch element.type?.local {
        case "QueryExpression", "QueryByAttribute":
            let reader = try QueryReader(element)
            return try await list(reader.entity, reader.query, page: reader.page, mark: reader.mark)
        case "FetchExpression":
            let members = try ContractMembers(element, of: "FetchExpression", ["Query"])
            let fetch = try FetchParser(try members.required("Query").text)
            guard let entity = EntityCatalog.entity(fetch.entity) else {
                throw FieldsealError(.queryDoesNotFit, "There is no entity \(fetch.entity.quotedForFault).")
            }
            return try await list(entity, fetch.query, page: fetch.page, mark: fetch.mark)
        default:
            throw FieldsealError(
                .queryDoesNotFit, "A query must be a QueryExpression, a FetchExpression or a QueryByAttribute, by its i:type.")
        }
    }

    private func list(_ entity: EntityDefinition, _ query: RecordQuery, page number: Int, mark: String) async throws -> ResultPage {
        try Self.require(.retrieveMultiple, of: entity)
        var query = query
        query.unknownAttributeCode = .noSuchAttribute
        let columns = try ResultColumns(&query, of: entity)
        let expansions = try Self.expansions(columns)
        let page: RecordPage
        if let peer {
            page = try await peer.cancellingOnHangUp { [query] in
                try await session.list(entity, query, expanding: expansions, mayUseStandby: true)
            }
        } else {
            page = try await session.list(entity, query, expanding: expansions, mayUseStandby: true)
        }
        return ResultPage(page: page, columns: columns, number: number, mark: mark)
    }
}
