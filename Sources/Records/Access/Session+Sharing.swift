package import Foundation
import JSON
package import Model
package import PostgresClient
package import Tenancy

extension Session {
    /// Shares a record (`GrantAccess` adds rights, `ModifyAccess` replaces them). The caller can share only rights that it has on
    /// the record.
    ///
    /// - Throws: ``FieldsealError``: `.objectDoesNotExist`, `.privilegeDenied`.
    func share(
        _ entity: EntityDefinition,
        _ id: UUID,
        with principal: Principal,
        _ rights: AccessRights,
        replacing: Bool,
        on connection: isolated PostgresConnection
    ) throws {
        guard !rights.isEmpty else {
            guard replacing else {
                throw FieldsealError(
                    .invalidArgument,
                    "GrantAccess adds rights, and its AccessMask names none. Remove rights with ModifyAccess or RevokeAccess.")
            }
            return try unshare(entity, id, with: principal, on: connection)
        }
        try withSharable(entity, id, on: connection) {
            try requirePrincipal(principal, on: connection)
            let excess = rights.subtracting(try ownRights(of: caller, on: entity, id, on: connection))
            guard excess.isEmpty else {
                throw FieldsealError(
                    .privilegeDenied,
                    "A caller can share only rights that it has on the record itself. This caller does not have \(excess.names).")
            }
            let update = replacing ? "excluded.rights" : "a.rights | excluded.rights"
            _ = try connection.query(
                """
                INSERT INTO \(organization.qualified("principal_access")) AS a (record_id, principal_id, entity, principal_entity, rights)
                VALUES ($1, $2, $3, $4, $5) ON CONFLICT (entity, record_id, principal_id) DO UPDATE SET rights = \(update)
                """,
                [.uuid(id), .uuid(principal.id), .text(entity.logicalName), .text(principal.entity), .int32(rights.rawValue)])
        }
    }

    /// Removes a share (`RevokeAccess`).
    func unshare(
        _ entity: EntityDefinition, _ id: UUID, with principal: Principal, on connection: isolated PostgresConnection
    ) throws {
        try withSharable(entity, id, on: connection) {
            _ = try connection.query(
                "DELETE FROM \(organization.qualified("principal_access")) WHERE entity = $3 AND record_id = $1 AND principal_id = $2",
                [.uuid(id), .uuid(principal.id), .text(entity.logicalName)])
        }
    }

    /// The principals with whom a record is shared, and their rights.
    package func shares(of entity: EntityDefinition, _ id: UUID) async throws -> [(principal: Principal, rights: AccessRights)] {
        try await deployment.pool.withConnection { connection in
            try shares(of: entity, id, on: connection)
        }
    }

    private func shares(of entity: EntityDefinition, _ id: UUID, on connection: isolated PostgresConnection) throws
        -> [(principal: Principal, rights: AccessRights)]
    {
        try withSharable(entity, id, on: connection) {
            try connection.query(
                """
                SELECT principal_entity, principal_id, rights FROM \(organization.qualified("principal_access"))
                 WHERE entity = $2 AND record_id = $1 ORDER BY principal_id
                """, [.uuid(id), .text(entity.logicalName)]
            ).map { row in
                (
                    Principal(entity: try row.decode("principal_entity"), id: try row.decode("principal_id")),
                    AccessRights(rawValue: Int32(try row.decode("rights", as: Int.self)))
                )
            }
        }
    }

    /// Checks that a principal is a user or a team that exists.
    ///
    /// - Throws: ``FieldsealError`` for a principal of another entity, and for a principal that does not exist.
    package func requirePrincipal(_ principal: Principal, on connection: isolated PostgresConnection) throws {
        guard let entity = EntityCatalog.entity(principal.entity), ["systemuser", "team"].contains(principal.entity) else {
            throw FieldsealError(.payloadDoesNotFit, "The principal must be a systemuser or a team.")
        }
        let rows = try connection.query(
            "SELECT FROM \(organization.qualified(entity.logicalName)) WHERE \(entity.idColumn) = $1",
            [.uuid(principal.id)])
        if rows.isEmpty { throw FieldsealError.noSuchRecord(entity, principal.id.text) }
    }

    /// Runs `body` in a transaction if the caller may share the record.
    ///
    /// The record's row is locked first. So the right to share is checked after concurrent transactions that change shares have
    /// ended.
    private func withSharable<Result>(
        _ entity: EntityDefinition,
        _ id: UUID,
        on connection: isolated PostgresConnection,
        _ body: () throws -> Result
    ) throws -> Result {
        let depth = try require(.share, on: entity)
        return try connection.atomically {
            let table = organization.qualified(entity.logicalName)
            _ = try connection.query(
                "SELECT FROM \(table) WHERE \(entity.idColumn) = $1 FOR NO KEY UPDATE", [.uuid(id)])
            var statement = StatementBuilder(organization, caller)
            var conditions = ["r.\(entity.idColumn) = \(statement.bind(.uuid(id)))"]
            if let own = AccessRule(entity, organization, caller).condition(depth, .share, "r", bind: { statement.bind($0) }) {
                conditions.append(own)
            }
            let rows = try connection.query(
                "SELECT FROM \(table) AS r WHERE \(conditions.joined(separator: " AND "))", statement.parameters)
            if rows.isEmpty {
                try refuseReadable(entity, id, without: .share, on: connection)
                throw FieldsealError.noSuchRecord(entity, id.text)
            }
            return try body()
        }
    }
}

extension AccessRights {
    /// All rights.
    package static let all = AccessRights(named.map(\.right))

    /// Parses `ReadAccess, WriteAccess`.
    ///
    /// - Throws: ``FieldsealError`` `.payloadDoesNotFit` for an unknown name.
    package init(names: String) throws(FieldsealError) {
        self = []
        for name in names.split(separator: ",").map({ $0.trimmingCharacters(in: .whitespaces) }) where !["", "None"].contains(name)
        {
            guard let right = Self.named.first(where: { $0.name == name })?.right else {
                throw FieldsealError(
                    .payloadDoesNotFit, "AccessMask takes names such as \(Self.named.map(\.name).joined(separator: ", ")).")
            }
            insert(right)
        }
    }

    /// The names of the rights, separated by commas, as Dataverse's messages write them.
    package var names: String {
        isEmpty ? "None" : Self.named.filter { contains($0.right) }.map(\.name).joined(separator: ",")
    }
}
