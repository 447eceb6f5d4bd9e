import Foundation
import HTTPTypes
import JSON
import Model
import Records

// Single attributes, and navigation from a record to related records.
extension DataAPI {
    func property(
        _ attribute: AttributeDefinition,
        _ entity: EntityDefinition,
        _ key: RecordKey,
        isRaw: Bool,
        _ request: APIRequest
    ) async throws -> APIResponse {
        switch request.method {
        case .get:
            let page = try await session.retrieve(entity, key, [.init(.column(.init(attribute.logicalName)))])
            guard let record = page.records.first else { throw FieldsealError.noSuchRecord(entity) }
            try request.requireMatch(record.etag, entity)
            let value = attribute.isEncrypted ? .null : try record.value(page.shape.columns[0])
            guard value != .null else { return APIResponse.noContent() }
            let isVersioned = !entity.unversioned.contains(attribute.logicalName)
            if isVersioned, request.knows(record.etag) { return APIResponse(status: .notModified, headers: [:], body: []) }
            return try await writing(page) {
                if isRaw { return raw(value) }
                var writer = RecordWriter(representation(request))
                writer.open(
                    representation(request).context("\(entity.entitySetName)(\(record.id.text))/\(attribute.propertyName)"))
                try writer.value(page.shape.columns[0], record)
                writer.close()
                return APIResponse.json(writer.output)
            }
        case .put where !isRaw, .patch where !isRaw, .delete where !isRaw:
            try await session.write(try write(of: attribute, entity, key, request))
            return APIResponse.noContent()
        default:
            if isRaw { throw MethodNotAllowed(.get) }
            throw MethodNotAllowed(.get, .put, .delete)
        }
    }

    private func raw(_ value: AttributeValue) -> APIResponse {
        switch value {
        case .null: APIResponse.noContent()
        case .text(let text), .decimal(let text): APIResponse.text(text)
        case .int(let number): APIResponse.text(String(number))
        case .bool(let flag): APIResponse.text(String(flag))
        case .date(let date): APIResponse.text(ISO8601.text(date))
        case .id(let id): APIResponse.text(id.text)
        case .bytes(let bytes): APIResponse(status: .ok, headers: [.contentType: "application/octet-stream"], body: bytes)
        }
    }

    // MARK: Navigation

    func navigation(_ navigation: ODataPath.Navigation, _ request: APIRequest) async throws -> APIResponse {
        if navigation.isReference, request.method != .get {
            try await session.write(try await link(navigation, request))
            return APIResponse.noContent()
        }
        if navigation.isCreation, request.method == .post {
            return try await answer(try creation(in: navigation, try request.members(), request))
        }
        if navigation.isPartyList, request.method == .put {
            return try await answer(try replacement(of: navigation, request))
        }
        guard request.method == .get, navigation.member == nil else {
            if navigation.isReference { throw navigation.methodNotAllowed }
            if navigation.isPartyList { throw MethodNotAllowed(.get, .put) }
            if navigation.isCreation { throw MethodNotAllowed(.get, .post) }
            throw MethodNotAllowed(.get)
        }
        return navigation.isCollection ? try await collection(navigation, request) : try await single(navigation, request)
    }

    private func single(_ navigation: ODataPath.Navigation, _ request: APIRequest) async throws -> APIResponse {
        let (relationship, entity, key) = (navigation.relationship, navigation.entity, navigation.key)
        var outputs: [RecordQuery.Output] = [.init(.column(.init(relationship.attribute.logicalName)))]
        // A lookup that may refer to several entities has a second attribute, with the name of the referenced record's entity.
        let type = relationship.attribute.typeAttribute(in: entity)?.logicalName
        if let type { outputs.append(.hidden(.init(type))) }
        let page = try await session.retrieve(entity, key, outputs)
        guard let record = page.records.first, case .id(let id) = try record.value(page.shape.columns[0]) else {
            return APIResponse.noContent()
        }
        var referenced = relationship.referenced
        if let type, case .text(let name) = try record.value(of: type) {
            let possible = entity.singleValued(all: relationship.navigationProperty).map(\.referenced)
            guard let found = possible.first(where: { $0.logicalName == name }) else { return APIResponse.noContent() }
            referenced = found
        }
        if navigation.isReference {
            try request.requireNoOptions()
            try request.requireMatch(record.etag, entity)
            guard !request.knows(record.etag) else { return APIResponse(status: .notModified, headers: [:], body: []) }
            let representation = representation(request)
            return APIResponse.json(
                .object([
                    representation.context("$ref"),
                    .init("@odata.id", .string(representation.address(referenced, id))),
                ]))
        }
        return try await self.entity(referenced, .id(id), request)
    }

    private func collection(_ navigation: ODataPath.Navigation, _ request: APIRequest) async throws -> APIResponse {
        let (relationship, entity, key) = (navigation.relationship, navigation.entity, navigation.key)
        // Throws if the record does not exist, or if the caller may not read it.
        let id = try await id(of: entity, key)
        let options = try ODataQuery(request.query, for: relationship.referencing, navigation.optionKind)
        var query = options.query
        let parent = Filter.compare(.init(relationship.attribute.logicalName), .equal, .text(id.text))
        query.filter = .all([parent] + (query.filter.map { [$0] } ?? []))
        if navigation.isCount { return APIResponse.text(String(try await session.count(relationship.referencing, query.filter))) }
        if navigation.isReference { query.outputs = [.init(.column(.init(relationship.referencing.primaryID)))] }
        return try await list(
            relationship.referencing, options, query, request,
            path:
                "\(entity.entitySetName)(\(id.text))/\(relationship.collectionProperty)\(navigation.isReference ? "/$ref" : "")",
            givesReferences: navigation.isReference)
    }

    func id(of entity: EntityDefinition, _ key: RecordKey) async throws -> UUID {
        let page = try await session.retrieve(entity, key, [.init(.column(.init(entity.primaryID)))])
        guard let record = page.records.first else { throw FieldsealError.noSuchRecord(entity) }
        return record.id
    }

    /// The id of a record that is to be linked. If the key is an id, the record is checked later, with the link itself, because an
    /// earlier request of the change set may create it.
    func linkedID(of entity: EntityDefinition, _ key: RecordKey) async throws -> UUID {
        if case .id(let id) = key { return id }
        return try await id(of: entity, key)
    }
}

extension ODataPath.Navigation {
    /// The error for a method that a `$ref` address does not accept. A single link of a collection accepts only `DELETE`.
    var methodNotAllowed: MethodNotAllowed {
        if member != nil { return MethodNotAllowed(.delete) }
        return isCollection ? MethodNotAllowed(.get, .post, .delete) : MethodNotAllowed(.get, .put, .delete)
    }

    fileprivate var optionKind: QueryOptions.Kind {
        if isCount { return .count }
        return isReference ? .references : .related
    }
}
