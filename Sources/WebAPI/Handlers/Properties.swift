import Fieldseal
import Foundation
import HTTPTypes

// Single attributes, and navigation from a record to others.
extension DataAPI {
    func property(
        _ attribute: AttributeDefinition,
        _ entity: EntityDefinition,
        _ key: RecordKey,
        isRaw: Bool,
        _ request: APIRequest
    ) async throws -> APIAnswer {
        switch request.method {
        case .get:
            let page = try await session.retrieve(entity, key, [.init(.column(.init(attribute.logicalName)))])
            guard let record = page.records.first else { throw FieldsealError.noSuchRecord(entity) }
            let value = attribute.isEncrypted ? .null : try record.value(page.shape.columns[0])
            guard value != .null else { return APIAnswer.noContent() }
            if isRaw { return raw(value) }
            var writer = RecordWriter(representation(request))
            writer.open(representation(request).context("\(entity.entitySetName)(\(record.id.text))/\(attribute.propertyName)"))
            try writer.value(page.shape.columns[0], record)
            writer.close()
            return APIAnswer.json(writer.output)
        case .put where !isRaw:
            let members = try request.members()
            guard members.count == 1, members[0].name == "value" else {
                throw FieldsealError(.payloadDoesNotFit, "The body of a property is {\"value\": …}.")
            }
            return try await set(attribute, members[0].value, entity, key)
        case .delete where !isRaw: return try await set(attribute, .null, entity, key)
        default:
            if isRaw { throw MethodNotAllowed(.get) }
            throw MethodNotAllowed(.get, .put, .delete)
        }
    }

    private func set(
        _ attribute: AttributeDefinition,
        _ value: JSONValue,
        _ entity: EntityDefinition,
        _ key: RecordKey
    ) async throws -> APIAnswer {
        try await session.write(.upsert(entity, key, [.init(attribute.logicalName, value)], .mustExist))
        return APIAnswer.noContent()
    }

    private func raw(_ value: AttributeValue) -> APIAnswer {
        switch value {
        case .null: APIAnswer.noContent()
        case .text(let text), .decimal(let text): APIAnswer.text(text)
        case .int(let number): APIAnswer.text(String(number))
        case .bool(let flag): APIAnswer.text(String(flag))
        case .date(let date): APIAnswer.text(ISO8601.text(date))
        case .id(let id): APIAnswer.text(id.text)
        case .bytes(let bytes): APIAnswer(status: .ok, headers: [.contentType: "application/octet-stream"], body: bytes)
        }
    }

    // MARK: Navigation

    func navigation(
        _ navigation: ODataPath.Navigation,
        _ entity: EntityDefinition,
        _ key: RecordKey,
        _ request: APIRequest
    ) async throws -> APIAnswer {
        if navigation.isReference, request.method != .get { return try await link(navigation, entity, key, request) }
        guard request.method == .get, navigation.member == nil else {
            if navigation.isReference { throw MethodNotAllowed(.get, .post, .put, .delete) }
            throw MethodNotAllowed(.get)
        }
        return navigation.isCollection
            ? try await collection(navigation, entity, key, request) : try await single(navigation, entity, key, request)
    }

    private func single(
        _ navigation: ODataPath.Navigation,
        _ entity: EntityDefinition,
        _ key: RecordKey,
        _ request: APIRequest
    ) async throws -> APIAnswer {
        let relationship = navigation.relationship
        let page = try await session.retrieve(entity, key, [.init(.column(.init(relationship.attribute.logicalName)))])
        guard let record = page.records.first, case .id(let id) = try record.value(page.shape.columns[0]) else {
            return APIAnswer.noContent()
        }
        if navigation.isReference {
            let representation = representation(request)
            return APIAnswer.json(
                .object([
                    representation.context("$ref"),
                    .init("@odata.id", .string(representation.address(relationship.referenced, id))),
                ]))
        }
        return try await self.entity(relationship.referenced, .id(id), request)
    }

    private func collection(
        _ navigation: ODataPath.Navigation,
        _ entity: EntityDefinition,
        _ key: RecordKey,
        _ request: APIRequest
    ) async throws -> APIAnswer {
        let relationship = navigation.relationship
        // The record must be there, and the caller's to see.
        let id = try await id(of: entity, key)
        let options = try ODataQuery(request.query, for: relationship.referencing)
        var query = options.query
        let parent = Filter.compare(.init(relationship.attribute.logicalName), .equal, .text(id.text))
        query.filter = .all([parent] + (query.filter.map { [$0] } ?? []))
        if navigation.isCount { return APIAnswer.text(String(try await session.count(relationship.referencing, query.filter))) }
        if navigation.isReference { query.outputs = [.init(.column(.init(relationship.referencing.primaryID)))] }
        return try await list(
            relationship.referencing, options, query, request,
            path:
                "\(entity.entitySetName)(\(id.text))/\(relationship.collectionProperty)\(navigation.isReference ? "/$ref" : "")",
            givesReferences: navigation.isReference)
    }

    /// Associates and disassociates: a link is a value of the lookup on the "many" side.
    private func link(
        _ navigation: ODataPath.Navigation,
        _ entity: EntityDefinition,
        _ key: RecordKey,
        _ request: APIRequest
    ) async throws -> APIAnswer {
        let relationship = navigation.relationship
        let property = "\(relationship.navigationProperty)@odata.bind"
        switch (request.method, navigation.isCollection) {
        case (.put, false):
            let address = try reference(request)
            try await session.write(.upsert(entity, key, [.init(property, .string(address))], .mustExist))
        case (.delete, false):
            try await session.write(.upsert(entity, key, [.init(property, .null)], .mustExist))
        case (.post, true):
            let member = try self.key(of: try reference(request), relationship.referencing)
            let id = try await id(of: entity, key)
            let parent = representation(request).address(entity, id)
            try await session.write(.upsert(relationship.referencing, member, [.init(property, .string(parent))], .mustExist))
        case (.delete, true):
            let member: RecordKey
            if let named = navigation.member {
                member = named
            } else {
                guard let address = try ODataQuery(request.query, for: relationship.referencing).others["$id"] else {
                    throw FieldsealError(
                        .badRequest, "Which record is to be taken off? \(relationship.collectionProperty)(ID)/$ref, or $id.")
                }
                member = try self.key(of: address, relationship.referencing)
            }
            let parent = try await id(of: entity, key)
            try await session.requireLink(relationship, member, to: parent)
            try await session.write(.upsert(relationship.referencing, member, [.init(property, .null)], .mustExist))
        default:
            if navigation.isCollection { throw MethodNotAllowed(.get, .post, .delete) }
            throw MethodNotAllowed(.get, .put, .delete)
        }
        return APIAnswer.noContent()
    }

    private func id(of entity: EntityDefinition, _ key: RecordKey) async throws -> UUID {
        let page = try await session.retrieve(entity, key, [.init(.column(.init(entity.primaryID)))])
        guard let record = page.records.first else { throw FieldsealError.noSuchRecord(entity) }
        return record.id
    }

    private func reference(_ request: APIRequest) throws(FieldsealError) -> String {
        guard let address = try request.members().first(where: { $0.name == "@odata.id" })?.value.string else {
            throw FieldsealError(.payloadDoesNotFit, "The body of a link is {\"@odata.id\": \"…\"} with the address of a record.")
        }
        return address
    }

    private func key(of address: String, _ entity: EntityDefinition) throws(FieldsealError) -> RecordKey {
        guard let (target, key) = try RecordInput.reference(address), target.logicalName == entity.logicalName else {
            throw FieldsealError(
                .payloadDoesNotFit, "The address must be one of \(entity.entitySetName), such as \(entity.entitySetName)(ID).")
        }
        return key
    }
}
