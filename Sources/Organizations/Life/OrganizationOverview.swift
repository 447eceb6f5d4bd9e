package import Foundation
import Model
import PostgresClient
package import Tenancy

/// An organization in the output of `org list`, with its size and the state of its key.
package struct OrganizationOverview: Sendable {
    /// Whether the service serves the organization.
    package enum Status: String, Sendable {
        case served, suspended
        case beingRemoved = "being removed"
        case schemaMissing = "schema missing"
        case tableMissing = "table missing"
        /// All of its requests are refused, because it is under a key-encryption key that the database does not accept any more.
        case underRetiredKEK = "under a retired KEK"
        /// All of its requests are refused, because what grants access in it is not what this service wrote last.
        case notAttested = "refused: not attested"
        /// All of its requests are refused, because its schema is older or newer than this program's.
        case anotherVersion = "refused: schema of another version"
    }

    package let entry: OrganizationEntry
    package private(set) var status: Status
    package let suspendedOn: Date?
    /// The missing tables that it needs, separated by commas; empty if there are none.
    package let missingTables: String
    /// The size of its tables and indexes on disk; nil without a schema.
    package let bytes: Int?
    /// The part of that size for cell tables.
    package let cellBytes: Int?
    /// `active`, or `key required`.
    package let keyState: String
    package let keyVersion: Int?
    package let keySetOn: Date?
    package let nextChangeDue: Date?
    package let keyCopiedOn: Date?

    /// The organizations of a deployment by name. The sizes come from the file system, so no table of records is
    /// read.
    package static func list(_ deployment: Deployment) async throws -> [OrganizationOverview] {
        try await deployment.pool.withConnection { connection in
            let isUnderRetiredKEK = try underRetiredKEK(on: connection)
            return try connection.query(
                """
                SELECT o.organization_id, o.name, o.created_on, o.attached_on, o.suspended_on, o.removal_begun_on IS NOT NULL,
                       s.bytes, s.cell_bytes, e.state, e.key_version, e.key_set_on, e.next_change_due, e.copied_on,
                       \(OrganizationTables.missing(schema: "o.schema_name")), to_regnamespace(quote_ident(o.schema_name)) IS NOT NULL,
                       \(isUnderRetiredKEK)
                  FROM config.organization AS o LEFT JOIN config.encryption_status AS e ON e.organization = o.name
                  LEFT JOIN LATERAL (
                       SELECT sum(pg_total_relation_size(c.oid))::bigint AS bytes,
                              coalesce(sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relname ~ '_cell_k[0-9]+$'), 0)::bigint
                                  AS cell_bytes
                         FROM pg_class AS c WHERE c.relnamespace = to_regnamespace(quote_ident(o.schema_name)) AND c.relkind = 'r'
                       ) AS s ON true
                 WHERE \(OrganizationEntry.inForce) ORDER BY o.name
                """
            ).map { row in
                var overview = try Self(row)
                guard overview.status == .served else { return overview }
                overview.status = try refusal(of: overview.entry.organization, in: deployment, on: connection) ?? .served
                return overview
            }
        }
    }

    /// Why the service refuses an organization that is marked as neither suspended nor damaged; nil if it does not.
    private static func refusal(
        of organization: Organization, in deployment: Deployment, on connection: isolated PostgresConnection
    ) throws -> Status? {
        do {
            let state = try OrganizationState.read(organization.name, in: deployment, isInspection: true, on: connection)
            guard state.problem == nil else { return .notAttested }
            return try state.isSuspended() ? .suspended : nil
        } catch let error as FieldsealError where error.code == .organizationDisabled {
            return .anotherVersion
        }
    }

    /// The condition in SQL under which the organization `o` is under a retired key-encryption key. No organization is while a table that
    /// tells is missing, since the list names missing tables.
    private static func underRetiredKEK(on connection: isolated PostgresConnection) throws -> String {
        let isThere: Bool = try connection.query(
            "SELECT to_regclass('config.attested_state') IS NOT NULL AND to_regclass('config.replaced_kek') IS NOT NULL")[0].decode(
                0)
        guard isThere else { return "false" }
        return """
            EXISTS (SELECT FROM config.attested_state AS a JOIN config.replaced_kek AS r USING (kek_id)
                     WHERE a.organization_id = o.organization_id AND r.retired_on IS NOT NULL)
            """
    }

    private init(_ row: PostgresRow) throws {
        entry = OrganizationEntry(
            organization: Organization(id: try row.decode(0), name: try row.decode(1)), createdOn: try row.decode(2),
            attachedOn: try row.decodeIfPresent(3))
        suspendedOn = try row.decodeIfPresent(4)
        bytes = try row.decodeIfPresent(6)
        cellBytes = bytes == nil ? nil : try row.decodeIfPresent(7)
        keyState = try row.decodeIfPresent(8) ?? "unknown"
        keyVersion = try row.decodeIfPresent(9)
        keySetOn = try row.decodeIfPresent(10)
        nextChangeDue = try row.decodeIfPresent(11)
        keyCopiedOn = try row.decodeIfPresent(12)
        missingTables = try row.decode(13)
        let hasSchema = try row.decode(14, as: Bool.self)
        status =
            if try row.decode(5, as: Bool.self) {
                .beingRemoved
            } else if hasSchema, !missingTables.isEmpty {
                .tableMissing
            } else if keyVersion == nil {
                .schemaMissing
            } else if try row.decode(15, as: Bool.self) {
                .underRetiredKEK
            } else if suspendedOn != nil {
                .suspended
            } else {
                .served
            }
    }
}
