import Authentication
import Email
import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

/// The data API for one caller: every request below `/{organization}/api/data/v9.x`, alone or in a batch.
struct DataAPI: Sendable {
    var session: Session
    /// Begins a session for each part of a batch. So a right that is revoked during the batch is missing from the next part on.
    let sessions: ClientSessions
    /// The user in whose name the client makes this request; nil if the client acts in its own name.
    let user: ImpersonatedUser?
    /// The address of the API with its version.
    let serviceRoot: String
    /// Parses addresses that the client writes.
    let addresses: RecordAddresses
    let limits: APILimits
    let mail: MailService
    /// The client that waits for the response. Without it, a long read continues even if the client disconnects.
    var peer: Peer?
    /// Stops counting a `fieldseal.WaitForWork` request toward the limits while it waits; nil for a part of a batch.
    var pause: RequestPause?
    /// Counts the response toward the limit of unread responses.
    var unread: UnreadResponses.Share?

    /// Whether a request's session may reuse the state that an earlier session read: for reads and writes of records, and most
    /// messages of routers. The request's transaction checks that the state is current.
    static func mayAssume(_ path: ODataPath) -> Bool {
        switch path {
        case .entitySet, .entity: true
        // A router's messages check the reused state before they do anything else. A credential is released in a session that reads
        // the state anew.
        case .operation(let name, _):
            name.hasPrefix("fieldseal.") && !keyControlNames.contains(name) && name != "fieldseal.ReleaseCredential"
        default: false
        }
    }

    func representation(_ request: APIRequest) -> Representation {
        Representation(serviceRoot: serviceRoot, preferences: request.preferences)
    }

    /// - Throws: The error that refuses the request. ``APIResponse/answer(to:)`` converts it to a response.
    func answer(_ request: APIRequest) async throws -> APIResponse {
        return try await answer(request, at: ODataPath(Substring(request.path)))
    }

    /// Responds to a request with a parsed path. A long read is cancelled when its client disconnects; a write is not.
    func answer(_ request: APIRequest, at path: ODataPath) async throws -> APIResponse {
        guard let peer, request.method == .get, Self.mayTakeLong(request, path) else { return try await run(request, at: path) }
        return try await peer.cancellingOnHangUp { try await run(request, at: path) }
    }

    /// Whether a read may take long, such as a query, a count, or a record with expanded records.
    private static func mayTakeLong(_ request: APIRequest, _ path: ODataPath) -> Bool {
        switch path {
        case .entitySet, .count, .references, .boundFunction, .navigation, .association, .operation, .definitions: true
        case .entity: request.query?.contains(ascii: "expand") ?? false
        default: false
        }
    }

    private func run(_ request: APIRequest, at path: ODataPath) async throws -> APIResponse {
        try path.requireKnown()
        if let refusal = request.preferences.refusal { throw refusal }
        try RequestHeaders.check(request.headers)
        if !path.isOfRecord { try request.requireNoCondition() }
        if case .metadata = path { try MediaTypes.requireXML(request.headers[.accept]) }
        guard path.isJSON else { return try await respond(request, at: path) }
        let metadata = try MediaTypes.metadata(accepting: try request.format() ?? request.headers[.accept])
        if !request.body.isEmpty { try MediaTypes.requireJSON(request.headers[.contentType]) }
        let answer = try await respond(request, at: path)
        guard metadata == .none else { return answer }
        return answer.body.count > Self.longLength
            ? try await BackgroundQueue.run { answer.withoutMetadata } : answer.withoutMetadata
    }

    private func respond(_ request: APIRequest, at path: ODataPath) async throws -> APIResponse {
        if path.takesNoOptions { try request.requireNoOptions() }
        if case .metadata = path { try QueryOptions.check(try ODataQuery.options(request.query), for: .metadata) }
        switch path {
        case .serviceRoot: return try get(request) { serviceDocument(representation(request)) }
        case .metadata: return try get(request) { APIResponse.xml(MetadataDocument.xml) }
        case .description:
            _ = try MediaTypes.metadata(accepting: request.headers[.accept])
            return try await getBeside(request) { APIResponse.json(OpenAPIDocument(serviceRoot: serviceRoot).json) }
        case .batch: return try await batch(request)
        case .entitySet(let entity): return try await entitySet(entity, request)
        case .count(let entity): return try await count(entity, request)
        case .references(let entity): return try await references(of: entity, request)
        case .collectionAction(let entity, let name): return try await collectionAction(name, entity, request)
        case .entity(let entity, let key): return try await self.entity(entity, key, request)
        case .boundFunction(let entity, let key, let name, let arguments):
            return try await boundFunction(name, entity, key, arguments, request)
        case .property(let entity, let key, let attribute, let isRaw):
            return try await property(attribute, entity, key, isRaw: isRaw, request)
        case .navigation(let navigation): return try await self.navigation(navigation, request)
        case .association(let path): return try await association(path, request)
        case .definitions(let segments): return try await getBeside(request) { try definitions(segments, request) }
        case .operation(let name, let arguments): return try await operation(name, arguments, request)
        }
    }

    private func get(_ request: APIRequest, _ answer: () throws -> APIResponse) throws -> APIResponse {
        guard request.method == .get else { throw MethodNotAllowed(.get) }
        return try answer()
    }

    /// Responds to a GET on a separate thread, for responses that take long to make.
    private func getBeside(_ request: APIRequest, _ answer: @escaping @Sendable () throws -> APIResponse) async throws
        -> APIResponse
    {
        guard request.method == .get else { throw MethodNotAllowed(.get) }
        return try await BackgroundQueue.run(answer)
    }

    /// From this number of bytes on, another thread converts a response.
    private static let longLength = 256 << 10

    /// Writes a response with a page of records. Another thread writes a long response, so that other clients don't wait for it.
    func writing(_ page: RecordPage, _ answer: @escaping @Sendable () throws -> APIResponse) async throws -> APIResponse {
        (page.isLong ? try await BackgroundQueue.run(answer) : try answer()).holding(page)
    }

    /// The service document (OData JSON Format 4.0, section 5).
    private func serviceDocument(_ representation: Representation) -> APIResponse {
        let sets = EntityCatalog.all.map { entity -> JSONValue in
            ["name": .string(entity.entitySetName), "kind": "EntitySet", "url": .string(entity.entitySetName)]
        }
        return APIResponse.json(["@odata.context": .string("\(serviceRoot)/$metadata"), "value": .array(sets)])
    }
}

extension APIResponse {
    static func xml(_ text: String) -> APIResponse {
        APIResponse(status: .ok, headers: [.contentType: "application/xml; charset=utf-8"], body: Array(text.utf8))
    }

    static func text(_ text: String) -> APIResponse {
        APIResponse(status: .ok, headers: [.contentType: "text/plain; charset=utf-8"], body: Array(text.utf8))
    }
}

extension ODataPath {
    /// Whether `Accept` decides the form of the responses at this path. Addresses whose responses have no body count too, because
    /// clients send an `Accept` with JSON in every request.
    fileprivate var isJSON: Bool {
        switch self {
        case .metadata, .count, .batch, .description, .property(_, _, _, isRaw: true): false
        case .property(_, _, let attribute, _): !attribute.type.isImage
        case .navigation(let navigation): !navigation.isCount
        case .association(let path): !path.isCount
        default: true
        }
    }

    /// Whether the path names one record or a part of it.
    var isOfRecord: Bool {
        switch self {
        case .entity, .property: true
        case .navigation(let navigation): !navigation.isCollection
        default: false
        }
    }

    /// Refuses a path that names nothing, before its options are checked. A name that is no entity set is parsed as an
    /// operation.
    func requireKnown() throws(FieldsealError) {
        switch self {
        case .operation(let name, _), .boundFunction(_, _, let name, _):
            guard MetadataOperations.isAction(name) == nil, !DataAPI.refusedOperations.contains(name) else { return }
            throw Self.unknown(name)
        case .collectionAction(_, let name) where !DataAPI.isCollectionAction(name): throw Self.unknown(name)
        default: return
        }
    }

    fileprivate var takesNoOptions: Bool {
        switch self {
        case .serviceRoot, .description, .batch, .property, .collectionAction, .boundFunction, .operation: true
        default: false
        }
    }
}

extension APIRequest {
    /// Refuses all query options, except those without an effect. A GET request may have `$format` too.
    func requireNoOptions() throws(FieldsealError) {
        guard query != nil else { return }
        try QueryOptions.check(try ODataQuery.options(query).filter { $0.name != "$format" || method != .get }, for: .none)
    }

    /// The media type that `$format` requests; nil if there is no `$format`. `json` means `application/json`.
    fileprivate func format() throws(FieldsealError) -> String? {
        guard let query, query.contains(ascii: "format") || query.contains(ascii: "%") else { return nil }
        let format = try ODataQuery.options(query).first { $0.name == "$format" }?.value
        guard format != "" else { throw FieldsealError(.queryDoesNotFit, "$format takes json or a media type.") }
        return format == "json" ? "application/json" : format
    }
}

extension APIResponse {
    /// The response for `odata.metadata=none` (OData JSON Format 4.0, section 3.1.3): only values, counts and links to pages.
    fileprivate var withoutMetadata: APIResponse {
        guard status.code < 300, let value = try? JSONParser.parse(body) else { return self }
        var answer = self
        answer.body = Self.plain(value).utf8
        answer.headers[.contentType] = "application/json; odata.metadata=none; charset=utf-8"
        return answer
    }

    private static func plain(_ value: JSONValue) -> JSONValue {
        switch value {
        case .array(let elements): .array(elements.map(plain))
        case .object(let members):
            .object(
                members.filter { !["@odata.context", "@odata.etag", "@odata.type", "@odata.id"].contains($0.name) }
                    .map { .init($0.name, plain($0.value)) })
        default: value
        }
    }
}
