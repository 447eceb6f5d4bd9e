import Fieldseal
import Foundation
import HTTPTypes

/// The data API for one caller: every request below `/{organization}/api/data/v9.x`, alone or in a batch.
struct DataAPI: Sendable {
    let session: Session
    /// The address of the API with its version.
    let serviceRoot: String
    let limits: APILimits
    /// Who waits for the answer; nil for no one that could hang up.
    var peer: Peer?
    /// For a request that waits; nil for a part of a batch.
    var pause: RequestPause?

    /// Whether a request is a read or a write of records and nothing else, so that its session may assume what an earlier one
    /// read: PostgreSQL checks it along with the records.
    static func mayAssume(_ path: ODataPath) -> Bool {
        switch path {
        case .entitySet, .entity: true
        // A router's messages check it themselves, before anything else.
        case .operation(let name, _): name.hasPrefix("fieldseal.")
        default: false
        }
    }

    func representation(_ request: APIRequest) -> Representation {
        Representation(serviceRoot: serviceRoot, preferences: request.preferences)
    }

    /// - Throws: The error that refuses the request; ``APIAnswer/answer(to:)`` makes an answer of it.
    func answer(_ request: APIRequest) async throws -> APIAnswer {
        return try await answer(request, at: ODataPath(Substring(request.path)))
    }

    /// The same for a path that was parsed already. A read that may take long ends when its client hangs up; a write goes on.
    func answer(_ request: APIRequest, at path: ODataPath) async throws -> APIAnswer {
        guard let peer, request.method == .get, Self.mayTakeLong(request, path) else { return try await run(request, at: path) }
        return try await peer.cancellingOnHangUp { try await run(request, at: path) }
    }

    /// Whether a read is more than a lookup.
    private static func mayTakeLong(_ request: APIRequest, _ path: ODataPath) -> Bool {
        switch path {
        case .entitySet, .count, .boundFunction, .navigation, .operation: true
        case .entity: request.query?.contains("expand") ?? false
        default: false
        }
    }

    private func run(_ request: APIRequest, at path: ODataPath) async throws -> APIAnswer {
        switch path {
        case .serviceRoot: return try get(request) { serviceDocument(representation(request)) }
        case .metadata: return try get(request) { APIAnswer.xml(MetadataDocument.xml) }
        case .description: return try get(request) { APIAnswer.json(OpenAPIDocument(serviceRoot: serviceRoot).json) }
        case .batch: return try await batch(request)
        case .entitySet(let entity): return try await entitySet(entity, request)
        case .count(let entity): return try await count(entity, request)
        case .collectionAction(let entity, let name): return try await collectionAction(name, entity, request)
        case .entity(let entity, let key): return try await self.entity(entity, key, request)
        case .boundFunction(let entity, let key, let name, let arguments):
            return try await boundFunction(name, entity, key, arguments, request)
        case .property(let entity, let key, let attribute, let isRaw):
            return try await property(attribute, entity, key, isRaw: isRaw, request)
        case .navigation(let entity, let key, let navigation): return try await self.navigation(navigation, entity, key, request)
        case .definitions(let segments): return try get(request) { try definitions(segments, request) }
        case .operation(let name, let arguments): return try await operation(name, arguments, request)
        }
    }

    private func get(_ request: APIRequest, _ answer: () throws -> APIAnswer) throws -> APIAnswer {
        guard request.method == .get else { throw MethodNotAllowed(.get) }
        return try answer()
    }

    /// The service document (OData JSON Format 4.0, section 5).
    private func serviceDocument(_ representation: Representation) -> APIAnswer {
        let sets = EntityCatalog.all.map { entity -> JSONValue in
            ["name": .string(entity.entitySetName), "kind": "EntitySet", "url": .string(entity.entitySetName)]
        }
        return APIAnswer.json(["@odata.context": .string("\(serviceRoot)/$metadata"), "value": .array(sets)])
    }
}

extension APIAnswer {
    static func xml(_ text: String) -> APIAnswer {
        APIAnswer(status: .ok, headers: [.contentType: "application/xml; charset=utf-8"], body: Array(text.utf8))
    }

    static func text(_ text: String) -> APIAnswer {
        APIAnswer(status: .ok, headers: [.contentType: "text/plain; charset=utf-8"], body: Array(text.utf8))
    }
}
