import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// Many-to-many relationships: linked records, and the links themselves.
extension DataAPI {
    func association(_ path: ODataPath.AssociationPath, _ request: APIRequest) async throws -> APIResponse {
        if path.isReference, request.method != .get { return try await answer(try await linking(path, request)) }
        guard request.method == .get else { throw MethodNotAllowed(.get) }
        guard path.member == nil else { throw MethodNotAllowed(.delete) }
        let association = path.association
        // Throws if the record does not exist, or if the caller may not read it.
        let id = try await id(of: association.own, path.key)
        let kind: QueryOptions.Kind = path.isCount ? .count : path.isReference ? .references : .related
        let options = try ODataQuery(request.query, for: association.other, kind)
        var query = options.query
        query.filter = .all([association.members(of: id)] + (query.filter.map { [$0] } ?? []))
        if path.isCount { return APIResponse.text(String(try await session.count(association.other, query.filter))) }
        if path.isReference { query.outputs = [.init(.column(.init(association.other.primaryID)))] }
        let suffix = path.isReference ? "/$ref" : ""
        return try await list(
            association.other, options, query, request,
            path: "\(association.own.entitySetName)(\(id.text))/\(association.navigationProperty)\(suffix)",
            givesReferences: path.isReference)
    }

    /// The change that links two records or removes the link.
    func linking(_ path: ODataPath.AssociationPath, _ request: APIRequest) async throws -> Change {
        let association = path.association
        let member: RecordKey
        switch request.method {
        case .post where path.member == nil:
            try request.requireNoOptions()
            member = try key(of: try reference(request), association.other)
        case .delete: member = try linkedMember(path.member, of: association.other, association.navigationProperty, request)
        default: throw path.member == nil ? MethodNotAllowed(.get, .post, .delete) : MethodNotAllowed(.delete)
        }
        let id = try await linkedID(of: association.own, path.key)
        let other = try await linkedID(of: association.other, member)
        return Change(
            [.message(association.own, id, .associate(association, [other], areLinked: request.method == .post))],
            address: serviceRoot + request.path)
    }
}
