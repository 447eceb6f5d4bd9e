import Foundation
import HTTPTypes
import JSON
import Model
import Records

/// The writes of one request, which runs alone or in a change set, and the function that makes its response.
struct Change: Sendable {
    /// The writes in the order in which one transaction does them.
    let writes: [RecordWrite]
    /// The address of the record. Later requests of a change set may refer to it.
    let address: String
    /// Makes the response from the outcomes of the writes.
    let response: @Sendable ([WriteOutcome]) async throws -> APIResponse

    /// - Parameter response: Nil for a response without content.
    init(_ writes: [RecordWrite], address: String, response: (@Sendable ([WriteOutcome]) async throws -> APIResponse)? = nil) {
        self.writes = writes
        self.address = address
        self.response = response ?? { _ in APIResponse.noContent() }
    }
}

extension DataAPI {
    /// Performs the writes of a request.
    func answer(_ change: Change) async throws -> APIResponse {
        try await change.response(try await session.write(change.writes))
    }

    /// The writes of a request in a change set.
    ///
    /// - Throws: ``FieldsealError`` `.badRequest` for a request that a change set can't contain.
    func change(_ request: APIRequest) async throws -> Change {
        let path = try ODataPath(Substring(request.path))
        try path.requireKnown()
        if let refusal = request.preferences.refusal { throw refusal }
        try RequestHeaders.check(request.headers)
        if !path.isOfRecord { try request.requireNoCondition() }
        let address = serviceRoot + request.path
        switch (path, request.method) {
        case (.entitySet(let entity), .post): return try creation(of: entity, try request.members(), request)
        case (.entity(let entity, let key), .patch), (.entity(let entity, let key), .put):
            let write = RecordWrite.upsert(entity, key, try request.members(), try request.condition())
            return Change([write], address: address, response: try recordResponse(entity, 0, request))
        case (.entity(let entity, let key), .delete):
            try request.requireNoOptions()
            return Change([.delete(entity, key, try request.condition())], address: address)
        case (.property(let entity, let key, let attribute, isRaw: false), _):
            try request.requireNoOptions()
            return Change([try write(of: attribute, entity, key, request)], address: address)
        case (.navigation(let navigation), .post) where navigation.isCreation:
            return try creation(in: navigation, try request.members(), request)
        case (.navigation(let navigation), .put) where navigation.isPartyList:
            return try replacement(of: navigation, request)
        case (.navigation(let navigation), _) where navigation.isReference:
            return Change([try await link(navigation, request)], address: address)
        case (.association(let path), _) where path.isReference: return try await linking(path, request)
        case (.collectionAction(let entity, let name), .post):
            guard entity !== EntityDefinition.email || !Self.incomingMessages.contains(name) else { throw Self.noChange }
            return try bulkChange(name, entity, request)
        case (.operation(let name, arguments: ""), .post), (.boundFunction(_, _, let name, arguments: ""), .post):
            guard let change = try await messageChange(name, path, request) else { throw Self.noChange }
            return change
        default: throw Self.noChange
        }
    }

    private static var noChange: FieldsealError {
        FieldsealError(
            .badRequest,
            "A change set takes creates, updates, upserts and deletes of records, their attributes and their links, and the messages "
                + "that share records, change teams and send e-mails. Send other requests outside of it.")
    }

    /// Creates a record, and the related records that are nested in it.
    func creation(of entity: EntityDefinition, _ members: [JSONValue.Member], _ request: APIRequest) throws -> Change {
        guard members.contains(where: \.isNested) else {
            let named = entity.id(in: members)
            // The id is chosen before the write, so that later requests of the change set can refer to the new record.
            let id = named ?? UUID.timeOrdered()
            return Change(
                [.create(entity, id: id, members)], address: address(entity, id), response: try recordResponse(entity, 0, request))
        }
        let insert = try DeepInsert(entity, members, limit: APILimits.bulkCount)
        return Change(
            insert.writes, address: address(entity, insert.id), response: try recordResponse(entity, insert.main, request))
    }

    /// Creates a record through a collection-valued navigation property. The new record refers to the record that the path names
    /// before the property.
    func creation(in navigation: ODataPath.Navigation, _ members: [JSONValue.Member], _ request: APIRequest) throws -> Change {
        let relationship = navigation.relationship
        try ParsedValues.requireWritable(relationship.attribute)
        let bind = "\(relationship.navigationProperty)@odata.bind"
        guard !members.contains(where: { $0.name.lowercased() == bind.lowercased() }) else {
            throw FieldsealError(
                .payloadDoesNotFit, "The address already names the record that \(bind) refers to. Leave \(bind) out of the body.")
        }
        let parent = navigation.key.address(in: navigation.entity)
        return try creation(of: relationship.referencing, members + [.init(bind, .string(parent))], request)
    }

    /// Replaces the parties of an e-mail. As in Dataverse, no collection other than the parties can be replaced.
    func replacement(of navigation: ODataPath.Navigation, _ request: APIRequest) throws -> Change {
        try request.requireNoOptions()
        let members = try request.members().filter { $0.name != "@odata.context" }
        guard members.count == 1, members[0].name == "value", case .array = members[0].value else {
            throw FieldsealError(
                .payloadDoesNotFit, "The body with the parties of an e-mail must be {\"value\": […]}, with all of its parties.")
        }
        let parties = JSONValue.Member(navigation.relationship.collectionProperty, members[0].value)
        return Change(
            [.upsert(navigation.entity, navigation.key, [parties], .mustExist)], address: serviceRoot + request.path)
    }

    private func address(_ entity: EntityDefinition, _ id: UUID) -> String { "\(serviceRoot)/\(entity.entitySetName)(\(id.text))" }

    /// Checks the query options of a create or an update before the write. The result makes the response after the write.
    private func recordResponse(_ entity: EntityDefinition, _ place: Int, _ request: APIRequest) throws
        -> @Sendable ([WriteOutcome]) async throws -> APIResponse
    {
        let options = try ODataQuery(request.query, for: entity, .record)
        try session.requireReadable(entity, options.query.outputs, expanding: options.expansions)
        return { outcomes in try await written(entity, outcomes[place], options, request) }
    }

    /// The write of one attribute: `PUT` sets any attribute, `PATCH` sets only a picture, and `DELETE` sets the attribute to null.
    func write(
        of attribute: AttributeDefinition,
        _ entity: EntityDefinition,
        _ key: RecordKey,
        _ request: APIRequest
    ) throws -> RecordWrite {
        let value: JSONValue
        // A client may send a value back exactly as it received it, with `@odata.context`.
        var context: [JSONValue.Member] = []
        if [.put, .patch, .delete].contains(request.method) { try ParsedValues.requireWritable(attribute) }
        switch request.method {
        case .delete: value = .null
        case .put where !request.isOctets, .patch where !request.isOctets && attribute.type.isImage:
            try MediaTypes.requireJSON(request.headers[.contentType])
            let members = try request.members().filter { $0.name != "@odata.type" }
            context = members.filter { $0.name == "@odata.context" }
            guard members.count == 1 + context.count, let member = members.first(where: { $0.name == "value" }) else {
                throw FieldsealError(.payloadDoesNotFit, "The body of a property must be {\"value\": …}.")
            }
            value = member.value
        case .put, .patch:
            guard attribute.type.isImage else {
                if request.method == .put { throw UnsupportedForm.body }
                throw MethodNotAllowed(.get, .put, .delete)
            }
            value = .string(Data(request.body).base64EncodedString())
        default: throw MethodNotAllowed(.get, .put, .delete)
        }
        return .upsert(entity, key, [.init(attribute.logicalName, value)] + context, try request.conditionOfExisting())
    }

    /// Links two records of a one-to-many relationship, or removes their link. The write sets or clears the lookup of the record
    /// on the "many" side.
    func link(_ navigation: ODataPath.Navigation, _ request: APIRequest) async throws -> RecordWrite {
        let relationship = navigation.relationship
        let (entity, key) = (navigation.entity, navigation.key)
        let property = "\(relationship.navigationProperty)@odata.bind"
        if request.method != .delete || !navigation.isCollection { try request.requireNoOptions() }
        if [.put, .post, .delete].contains(request.method) { try ParsedValues.requireWritable(relationship.attribute) }
        guard navigation.member == nil || request.method == .delete else { throw navigation.methodNotAllowed }
        switch (request.method, navigation.isCollection) {
        case (.put, false):
            return .upsert(
                entity, key, [.init(property, .string(try reference(request)))], try request.conditionOfExisting())
        case (.delete, false):
            return .upsert(entity, key, [.init(property, .null)], try request.conditionOfExisting())
        case (.post, true):
            let member = try self.key(of: try reference(request), relationship.referencing)
            return .upsert(relationship.referencing, member, [.init(property, .string(key.address(in: entity)))], .mustExist)
        case (.delete, true):
            let member = try linkedMember(
                navigation.member, of: relationship.referencing, relationship.collectionProperty, request)
            let parent = try await linkedID(of: entity, key)
            return .upsert(
                relationship.referencing, member, [.init(property, .null)], .refersTo(relationship.attribute.logicalName, parent))
        default: throw navigation.methodNotAllowed
        }
    }

    /// The record to remove from a collection. The path has its key, or the option `$id` has its address.
    func linkedMember(_ named: RecordKey?, of entity: EntityDefinition, _ property: String, _ request: APIRequest)
        throws(FieldsealError) -> RecordKey
    {
        if let named {
            try request.requireNoOptions()
            return named
        }
        guard let address = try ODataQuery(request.query, for: entity, .disassociation).others["$id"] else {
            throw FieldsealError(.badRequest, "The request does not say which record to remove. Send \(property)(ID)/$ref, or $id.")
        }
        return try key(of: address, entity)
    }

    func reference(_ request: APIRequest) throws(FieldsealError) -> String {
        let members = try request.members()
        if let unknown = members.first(where: { !["@odata.id", "@odata.context", "@odata.type"].contains($0.name) }) {
            throw FieldsealError(.payloadDoesNotFit, "The body of a link has no member \(unknown.name.quotedForMessage).")
        }
        guard let address = members.first(where: { $0.name == "@odata.id" })?.value.string else {
            throw FieldsealError(
                .payloadDoesNotFit, "The body of a link must be {\"@odata.id\": \"…\"} with the address of a record.")
        }
        return address
    }

    func key(of address: String, _ entity: EntityDefinition) throws(FieldsealError) -> RecordKey {
        guard let (target, key) = try ParsedValues.reference(addresses.relative(address)), target.logicalName == entity.logicalName
        else {
            throw FieldsealError(
                .payloadDoesNotFit, "The address must be one of \(entity.entitySetName), such as \(entity.entitySetName)(ID).")
        }
        return key
    }
}

extension APIRequest {
    /// Whether the body is the attribute's raw bytes, not JSON.
    fileprivate var isOctets: Bool {
        headers[.contentType]?.lowercased().hasPrefix("application/octet-stream") ?? false
    }
}

extension JSONValue.Member {
    /// Whether the value is an object or an array. Such a value holds related records or the addresses of several records.
    var isNested: Bool {
        switch value {
        case .array, .object: true
        default: false
        }
    }
}

extension ODataPath.Navigation {
    /// Whether a `POST` to the path creates a record.
    var isCreation: Bool { isWholeCollection && relationship.referencing.has(.create) }

    /// Whether the path names all parties of an e-mail, which a `PUT` replaces.
    var isPartyList: Bool {
        isWholeCollection && entity === EntityDefinition.email && relationship.referencing === EntityDefinition.activityParty
    }

    private var isWholeCollection: Bool { isCollection && !isReference && !isCount && member == nil }
}

extension RecordKey {
    /// The address of the record, relative to the service.
    func address(in entity: EntityDefinition) -> String { "/\(entity.entitySetName)(\(text.percentEncoded))" }
}
