import Foundation
import HTTPTypes
import Model
import Records
import Tenancy

// Records: create, retrieve, update, upsert, delete, list.
extension DataAPI {
    func entitySet(_ entity: EntityDefinition, _ request: APIRequest) async throws -> APIResponse {
        try require(request.method, of: entity.has(.create) ? [.get, .post] : [.get])
        switch request.method {
        case .get: return try await list(entity, request)
        case .post:
            let members = try request.members()
            guard members.contains(where: \.isNested) else {
                let query = try ODataQuery(request.query, for: entity, .record)
                try session.requireReadable(entity, query.query.outputs, expanding: query.expansions)
                return try await written(entity, try await session.write(.create(entity, members)), query, request)
            }
            return try await answer(try creation(of: entity, members, request))
        default: throw MethodNotAllowed(.get, .post)
        }
    }

    private func require(_ method: HTTPRequest.Method, of allowed: [HTTPRequest.Method]) throws {
        guard allowed.contains(method) else { throw MethodNotAllowed(allowed, .notImplemented) }
    }

    func entity(_ entity: EntityDefinition, _ key: RecordKey, _ request: APIRequest) async throws -> APIResponse {
        if request.method != .get {
            try require(
                request.method, of: [.get] + (entity.has(.update) ? [.patch, .put] : []) + (entity.has(.delete) ? [.delete] : []))
        }
        let query = try ODataQuery.ofRecord(request.query, of: entity)
        switch request.method {
        case .get:
            let page = try await retrieve(entity, key, query, request)
            guard let record = page.records.first else { throw FieldsealError.noSuchRecord(entity) }
            let headers: HTTPFields = [.eTag: record.etag]
            try request.requireMatch(record.etag, entity)
            if query.expansions.isEmpty, !query.query.reads(entity.unversioned), request.knows(record.etag) {
                return APIResponse(status: .notModified, headers: headers, body: [])
            }
            return try await writing(page) {
                APIResponse.json(
                    try representation(request).record(page), headers: headers.applying(request.preferences.applied))
            }
        case .patch, .put:
            try session.requireReadable(entity, query.query.outputs, expanding: query.expansions)
            let write = RecordWrite.upsert(entity, key, try request.members(), try request.condition())
            return try await written(entity, try await session.write(write), query, request)
        case .delete:
            try request.requireNoOptions()
            try await session.write(.delete(entity, key, try request.condition()))
            return APIResponse.noContent()
        default: throw MethodNotAllowed(.get, .patch, .put, .delete)
        }
    }

    private func retrieve(
        _ entity: EntityDefinition,
        _ key: RecordKey,
        _ query: ODataQuery,
        _ request: APIRequest
    ) async throws -> RecordPage {
        return try await session.retrieve(
            entity, key, named(query.query.outputs, entity, request.preferences),
            expanding: named(query.expansions, entity, request.preferences))
    }

    /// If the client requests annotations, adds outputs for the names of the records that lookups refer to.
    private func named(
        _ outputs: [RecordQuery.Output],
        _ entity: EntityDefinition,
        _ preferences: Preferences
    ) -> [RecordQuery.Output] {
        preferences.annotations.isEmpty ? outputs : outputs + RecordQuery.Output.names(of: outputs, in: entity)
    }

    /// If the client requests annotations, adds outputs for the names of referenced records to expanded records too, at every
    /// depth.
    private func named(_ expansions: [Expansion], _ entity: EntityDefinition, _ preferences: Preferences) -> [Expansion] {
        guard !preferences.annotations.isEmpty else { return expansions }
        return expansions.map { expansion in
            let target =
                entity.singleValued(expansion.property)?.referenced ?? entity.collectionValued(expansion.property)?.referencing
                ?? entity.association(expansion.property)?.other
            guard !expansion.isReference, let target else { return expansion }
            var expansion = expansion
            expansion.query.outputs = named(expansion.query.outputs, target, preferences)
            expansion.expansions = named(expansion.expansions, target, preferences)
            return expansion
        }
    }

    func list(_ entity: EntityDefinition, _ request: APIRequest) async throws -> APIResponse {
        let options = try ODataQuery(request.query, for: entity, .list)
        if let text = options.others["fetchXml"] { return try await fetch(text, entity, request) }
        if let text = options.others["sql"] { return try await sql(text, entity, options, request) }
        return try await list(entity, options, options.query, request)
    }

    /// Responds with the addresses of a collection's records (OData 4.0 Part 1, section 11.2.8).
    func references(of entity: EntityDefinition, _ request: APIRequest) async throws -> APIResponse {
        guard request.method == .get else { throw MethodNotAllowed(.get) }
        let options = try ODataQuery(request.query, for: entity, .references)
        var query = options.query
        query.outputs = [.init(.column(.init(entity.primaryID)))]
        return try await list(entity, options, query, request, path: "\(entity.entitySetName)/$ref", givesReferences: true)
    }

    /// Responds with a page of a query.
    func list(
        _ entity: EntityDefinition,
        _ options: ODataQuery,
        _ query: RecordQuery,
        _ request: APIRequest,
        path: String? = nil,
        givesReferences: Bool = false
    ) async throws -> APIResponse {
        let preferences = request.preferences
        var query = options.paged(query, size: min(preferences.maxPageSize ?? RecordQuery.pageLimit, RecordQuery.pageLimit))
        if !preferences.annotations.isEmpty, !givesReferences { query.addNames(in: entity) }
        let page = try await session.list(
            entity, query, expanding: named(options.expansions, entity, preferences), mayUseStandby: true)
        let nextLink = page.next.map { "\(serviceRoot)/\(path ?? entity.entitySetName)?\(options.next($0))" }
        let headers = HTTPFields().applying(preferences.applied(annotations: givesReferences ? [] : nil))
        if givesReferences {
            return try await writing(page) {
                APIResponse.json(representation(request).references(page, nextLink: nextLink), headers: headers)
            }
        }
        return try await writing(page) {
            APIResponse.json(
                try representation(request).page(
                    page, nextLink: nextLink, annotations: page.count.map(preferences.annotations(of:)) ?? []),
                headers: headers)
        }
    }

    func count(_ entity: EntityDefinition, _ request: APIRequest) async throws -> APIResponse {
        guard request.method == .get else { throw MethodNotAllowed(.get) }
        return APIResponse.text(
            String(try await session.count(entity, try ODataQuery(request.query, for: entity, .count).query.filter)))
    }

    func written(
        _ entity: EntityDefinition,
        _ outcome: WriteOutcome,
        _ query: ODataQuery,
        _ request: APIRequest
    ) async throws -> APIResponse {
        let address = representation(request).address(entity, outcome.id)
        var headers: HTTPFields = [.odataEntityID: address, .eTag: "W/\"\(outcome.versionNumber)\""]
        if outcome.isCreated { headers[.location] = address }
        guard request.preferences.returnsRepresentation, unread?.hasRoom ?? true else { return APIResponse.noContent(headers) }
        let outputs = named(query.query.outputs, entity, request.preferences)
        // The record is saved. If reading it back fails, the response has no content, because after an error the client would save
        // the record again.
        let expansions = named(query.expansions, entity, request.preferences)
        guard let page = try? await readBack(entity, outcome.id, outputs, expansions) else { return APIResponse.noContent(headers) }
        var answered = headers
        answered[.preferenceApplied] = ["return=representation", request.preferences.applied].compactMap(\.self).joined(
            separator: ",")
        answered[.eTag] = page.records.first?.etag
        let answer = try await writing(page) { [answered] in
            APIResponse.json(
                try representation(request).record(page), status: outcome.isCreated ? .created : .ok, headers: answered)
        }
        // Responses to other requests of the client may have used up the client's memory limit in the meantime.
        return unread?.add(answer.body.count) ?? true ? answer : APIResponse.noContent(headers)
    }

    /// Reads a record that was just written. The write may have changed data that the session read when it began, such as the
    /// attested mail servers.
    private func readBack(
        _ entity: EntityDefinition, _ id: UUID, _ outputs: [RecordQuery.Output], _ expansions: [Expansion]
    ) async throws -> RecordPage {
        do {
            return try await session.retrieve(entity, .id(id), outputs, expanding: expansions)
        } catch is StaleSession {
            return try await session.renewed().retrieve(entity, .id(id), outputs, expanding: expansions)
        }
    }
}

extension APIRequest {
    /// Parses `If-Match` and `If-None-Match` (RFC 9110 section 13.1).
    ///
    /// - Throws: ``FieldsealError`` `.concurrencyVersionNotProvided` (428, RFC 6585 section 3) for an empty `If-Match`;
    /// `.badRequest` for a value that is not supported.
    func condition() throws(FieldsealError) -> WriteCondition {
        // Microsoft's clients write null if they have no tag.
        let tags = headers[.ifNoneMatch].flatMap { $0 == "null" ? nil : $0 }
        switch (headers[.ifMatch], tags) {
        case (nil, nil): return .none
        case ("*", nil): return .mustExist
        case (nil, "*"): return .mustNotExist
        case ("", nil), ("W/\"\"", nil):
            throw FieldsealError(
                .concurrencyVersionNotProvided, "If-Match names no version. Give the ETag of the record, such as W/\"1234\", or *.")
        case (let tag?, nil):
            guard let version = EntityTags.version(tag) else {
                throw FieldsealError(.badRequest, "If-Match takes * or the ETag of a record, such as W/\"1234\".")
            }
            return .version(version)
        default: throw FieldsealError(.badRequest, "If-None-Match takes * on a write, and not together with If-Match.")
        }
    }
}

extension APIRequest {
    /// Parses `If-Match` and `If-None-Match` for a part of a record, such as one attribute. The record itself must exist.
    func conditionOfExisting() throws(FieldsealError) -> WriteCondition {
        let condition = try condition()
        guard condition != .mustNotExist else {
            throw FieldsealError(.badRequest, "If-None-Match: * is for creating a record, and this is a part of one.")
        }
        return condition == .none ? .mustExist : condition
    }

    /// Refuses to read a record, or a part of it, if `If-Match` names another version.
    func requireMatch(_ etag: String, _ entity: EntityDefinition) throws(FieldsealError) {
        guard let tags = headers[.ifMatch], !EntityTags.match(tags, etag) else { return }
        throw FieldsealError(
            .concurrencyVersionMismatch, "The \(entity.logicalName) has another version than If-Match names. Read it again.")
    }

    /// Whether the client has this version (`If-None-Match`), and requests no annotations.
    ///
    /// The ETag identifies only the version of the record itself. Names of other records, expanded records and unversioned
    /// attributes may change under the same ETag.
    func knows(_ etag: String) -> Bool {
        preferences.annotations.isEmpty && EntityTags.match(headers[.ifNoneMatch], etag)
    }

    /// Refuses `If-Match` and `If-None-Match` in a request that is not about one record. A read may have `If-None-Match`, which
    /// names the versions that the client has already.
    func requireNoCondition() throws(FieldsealError) {
        let isChanging = method != .get && headers[.ifNoneMatch].map { $0 != "null" } ?? false
        guard headers[.ifMatch] == nil, !isChanging else {
            throw FieldsealError(.badRequest, "If-Match and If-None-Match are for requests of one record. Send this one without.")
        }
    }
}

extension RecordQuery.Output {
    /// For a renamed lookup: the name of the hidden output that holds the referenced record's name.
    static func hiddenName(_ output: String) -> String { "\(output)@name" }

    /// For a renamed lookup: the name of the hidden output that holds the referenced record's entity.
    static func hiddenType(_ output: String) -> String { "\(output)@type" }

    /// Hidden outputs with the name and the entity of each record that a lookup among the outputs refers to.
    ///
    /// - Parameters:
    ///   - links: The entities of links, by their aliases.
    ///   - isGrouped: Whether rows are groups. Then other columns can be read only as aggregates.
    static func names(
        of outputs: [RecordQuery.Output], in entity: EntityDefinition, links: [String: EntityDefinition] = [:],
        isGrouped: Bool = false
    ) -> [RecordQuery.Output] {
        // If the query names no outputs, every attribute is returned, also the names that the entity itself stores. So only names
        // that are read from the referenced record are added.
        guard !outputs.allSatisfy(\.isHidden) else {
            return entity.attributes.filter { $0.isNamedByRecord(in: entity) }.map {
                .hidden(.name(of: $0.logicalName), name: "\($0.logicalName)name")
            }
        }
        var names: [RecordQuery.Output] = []
        for output in outputs {
            guard case .column(let column) = output.value, !output.isHidden,
                let start = column.alias.map({ links[$0.lowercased()] }) ?? entity,
                let (path, source) = start.end(of: column.path),
                let attribute = source.attribute(named: column.name), attribute.type.isReference
            else { continue }
            func add(_ read: String?, as given: String?) {
                guard let read else { return }
                let column = RecordQuery.Column(read, path: path, alias: column.alias)
                names.append(isGrouped ? .hiddenMinimum(column, name: given ?? read) : .hidden(column, name: given))
            }
            if attribute.isNamedByRecord(in: source) {
                let name = output.name.map(hiddenName) ?? "\(attribute.logicalName)name"
                let read = RecordQuery.Column.name(of: attribute.logicalName, path: path, alias: column.alias)
                names.append(isGrouped ? .hiddenMinimum(read, name: name) : .hidden(read, name: name))
            }
            add(source["\(attribute.logicalName)name"]?.logicalName, as: output.name.map(hiddenName))
            add(attribute.typeAttribute(in: source)?.logicalName, as: output.name.map(hiddenType))
        }
        return names
    }
}

extension EntityDefinition {
    /// The entity that a path of navigation properties leads to, and the steps to it.
    ///
    /// An owner may be a user or a team. If the last step is an owner, the path ends at the owned record, which stores all that
    /// can be selected through that step.
    fileprivate func end(of path: [String]) -> (steps: [String], entity: EntityDefinition)? {
        var entity = self
        for (place, step) in path.enumerated() {
            let relationships = entity.singleValued(all: step)
            guard let relationship = relationships.first else { return nil }
            if relationships.count > 1 { return place == path.count - 1 ? (Array(path.dropLast()), entity) : nil }
            entity = relationship.referenced
        }
        return (path, entity)
    }
}

extension RecordQuery {
    /// Adds hidden outputs with the name and the entity of each record that a lookup among the outputs refers to.
    mutating func addNames(in entity: EntityDefinition) {
        var entities: [String: EntityDefinition] = [:]
        var rest = links
        while let link = rest.popLast() {
            if let alias = link.alias { entities[alias.lowercased()] = EntityCatalog.entity(link.entity) }
            rest += link.links
        }
        if let alias { entities[alias.lowercased()] = entity }
        outputs += Output.names(of: outputs, in: entity, links: entities, isGrouped: isGrouped)
    }
}

extension HTTPFields {
    /// The headers, with `Preference-Applied` if a preference was applied.
    func applying(_ applied: String?) -> HTTPFields {
        var headers = self
        headers[.preferenceApplied] = applied
        return headers
    }
}
