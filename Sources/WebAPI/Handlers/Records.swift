import Fieldseal
import Foundation
import HTTPTypes
import Hummingbird

// Records: create, retrieve, update, upsert, delete, list.
extension WebAPI {
    func entitySet(
        _ entity: EntityDefinition,
        _ request: Request,
        _ session: Session,
        _ representation: Representation
    ) async throws -> Response {
        switch request.method {
        case .get: return try await list(entity, request, session, representation)
        case .post:
            let query = try ODataQuery(request.uri.query, for: entity)
            let outcome = try await session.create(entity, try await members(request))
            return try await written(entity, outcome, query, request, session, representation)
        default: throw HTTPError(.methodNotAllowed)
        }
    }

    func entity(
        _ entity: EntityDefinition,
        id: UUID,
        _ request: Request,
        _ session: Session,
        _ representation: Representation
    ) async throws -> Response {
        let query = try ODataQuery(request.uri.query, for: entity)
        switch request.method {
        case .get:
            let record = try await session.retrieve(entity, id: id, select: query.select)
            if request.headers[.ifNoneMatch] == record.etag {
                return Response(status: .notModified, headers: [.eTag: record.etag])
            }
            return APIResponse.json(representation.record(record), headers: [.eTag: record.etag])
        case .patch:
            let outcome = try await session.upsert(entity, id: id, try await members(request), condition: try condition(request))
            return try await written(entity, outcome, query, request, session, representation)
        case .delete:
            try await session.delete(entity, id: id, condition: try condition(request))
            return APIResponse.noContent()
        default: throw HTTPError(.methodNotAllowed)
        }
    }

    private func list(
        _ entity: EntityDefinition,
        _ request: Request,
        _ session: Session,
        _ representation: Representation
    ) async throws -> Response {
        let query = try ODataQuery(request.uri.query, for: entity)
        let preferences = Preferences(request.headers[.prefer])
        let page = try await session.list(
            entity, select: query.select, top: query.top, pageSize: preferences.maxPageSize ?? Session.pageLimit,
            after: query.continuation)
        var headers: HTTPFields = [:]
        headers[HTTPField.Name.preferenceApplied] = preferences.appliedToList
        return APIResponse.json(
            representation.page(page, of: entity, nextLink: page.next.map { nextLink(entity, query, $0, representation) }),
            headers: headers)
    }

    private func nextLink(
        _ entity: EntityDefinition,
        _ query: ODataQuery,
        _ next: RecordPage.Continuation,
        _ representation: Representation
    ) -> String {
        let select = query.select.isEmpty ? "" : "$select=\(query.select.map(\.propertyName).joined(separator: ","))&"
        return "\(representation.serviceRoot)/\(entity.entitySetName)?\(select)$skiptoken=\(SkipToken.write(next))"
    }

    private func written(
        _ entity: EntityDefinition,
        _ outcome: WriteOutcome,
        _ query: ODataQuery,
        _ request: Request,
        _ session: Session,
        _ representation: Representation
    ) async throws -> Response {
        let etag = "W/\"\(outcome.versionNumber)\""
        let headers: HTTPFields = [
            .odataEntityID: representation.address(entity, outcome.id), .eTag: etag,
        ]
        guard Preferences(request.headers[.prefer]).returnsRepresentation else { return APIResponse.noContent(headers) }
        let record = try await session.retrieve(entity, id: outcome.id, select: query.select)
        return APIResponse.json(
            representation.record(record),
            status: outcome.isCreated ? .created : .ok,
            headers: headers.merging([.preferenceApplied: "return=representation", .eTag: record.etag]))
    }

    /// Reads `If-Match` and `If-None-Match` (RFC 9110 section 13.1).
    private func condition(_ request: Request) throws -> WriteCondition {
        switch (request.headers[.ifMatch], request.headers[.ifNoneMatch]) {
        case (nil, nil), (nil, "null"): return .none
        case ("*", nil): return .mustExist
        case (nil, "*"): return .mustNotExist
        case (let tag?, nil):
            guard tag.hasPrefix("W/\""), tag.hasSuffix("\""), let version = Int64(tag.dropFirst(3).dropLast()) else {
                throw FieldsealError(.badRequest, "If-Match takes * or the ETag of a record, such as W/\"1234\".")
            }
            return .version(version)
        default: throw FieldsealError(.badRequest, "If-None-Match takes * on a write, and not together with If-Match.")
        }
    }
}

extension HTTPFields {
    fileprivate func merging(_ others: HTTPFields) -> HTTPFields {
        var merged = self
        for field in others { merged[field.name] = field.value }
        return merged
    }
}
