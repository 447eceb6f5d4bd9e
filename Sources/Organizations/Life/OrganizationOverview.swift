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
        /// All requests are refused, because the organization is under a key-encryption key that the database does not accept any
        /// more.
        case underRetiredKEK = "under a retired KEK"
        /// All requests are refused, because the rows that grant access are not what this service wrote last.
        case notAttested = "refused: not attested"
        /// All requests are refused, because the organization's schema is older or newer than this program's schema.
        case anotherVersion = "refused: schema of another version"
    }

    package let entry: OrganizationEntry
    package private(set) var status: Status
    package let suspendedOn: Date?
    /// The tables that the organization needs and that are missing.
    package let missingTables: [String]
    /// The size of the organization's tables and indexes on disk; nil without a schema.
    package let bytes: Int?
    /// How much of ``bytes`` belongs to cell tables.
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
        let all = try await OrganizationEntry.list(deployment).map(\.organization)
        return try await OrganizationBatches.read(all, conninfo: deployment.conninfo) { try list($0, in: deployment, on: $1) }
    }

    private static func list(
        _ organizations: [Organization], in deployment: Deployment, on connection: isolated PostgresConnection
    ) throws -> [OrganizationOverview] {
        let relations = SchemaMembers.relations(of: "to_regnamespace(quote_ident(o.schema_name))")
        let rows = try connection.query(
            """
            WITH o AS MATERIALIZED (
                SELECT * FROM config.organization AS o
                 WHERE o.organization_id = ANY ($1) AND \(OrganizationEntry.inForce))
            SELECT o.organization_id, o.name, o.created_on, o.attached_on, o.suspended_on, o.removal_begun_on IS NOT NULL,
                   s.bytes, s.cell_bytes, \(OrganizationTables.missing(schema: "o.schema_name")),
                   to_regnamespace(quote_ident(o.schema_name)) IS NOT NULL, \(try underRetiredKEK(on: connection)),
                   to_regclass(quote_ident(o.schema_name) || '.encryption') IS NOT NULL
              FROM o LEFT JOIN LATERAL (
                   SELECT sum(pg_total_relation_size(c.oid))::bigint AS bytes,
                          coalesce(sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relname ~ '_cell_k[0-9]+$'), 0)::bigint
                              AS cell_bytes
                     FROM pg_class AS c WHERE c.relkind = 'r' AND c.oid IN \(relations)) AS s ON true
             ORDER BY o.name
            """, [.uuids(organizations.map(\.id))])
        let keys = try Key.read(of: rows.filter { try $0.decode(11) }.map { try organization($0) }, on: connection)
        return try rows.map { row in
            var overview = try Self(row, keys[organization(row).id])
            guard overview.status == .served else { return overview }
            overview.status = try refusal(of: overview.entry.organization, in: deployment, on: connection) ?? .served
            return overview
        }
    }

    private static func organization(_ row: PostgresRow) throws -> Organization {
        Organization(id: try row.decode(0), name: try row.decode(1))
    }

    /// The key in force of an organization.
    private struct Key {
        let version: Int
        let setOn: Date
        var nextChangeDue: Date { setOn.addingTimeInterval(KeyPolicy.keyLifetime) }
        /// Whether `config` has the key.
        let isThere: Bool
        let copiedOn: Date?

        /// The keys of organizations that have the table `encryption`.
        static func read(of organizations: [Organization], on connection: isolated PostgresConnection) throws -> [UUID: Key] {
            guard !organizations.isEmpty else { return [:] }
            let all = organizations.map {
                "SELECT '\($0.id)'::uuid AS id, key_version, fingerprint, changed_on FROM \($0.qualified("encryption"))"
            }
            return try connection.query(
                """
                SELECT e.id, e.key_version, e.changed_on, k.key_version IS NOT NULL, k.copied_on
                  FROM (\(all.joined(separator: " UNION ALL "))) AS e
                  LEFT JOIN config.organization_key AS k
                    ON (k.organization_id, k.key_version, k.fingerprint) = (e.id, e.key_version, e.fingerprint)
                """
            ).reduce(into: [:]) { keys, row in
                keys[try row.decode(0)] = Key(
                    version: try row.decode(1), setOn: try row.decode(2), isThere: try row.decode(3),
                    copiedOn: try row.decodeIfPresent(4))
            }
        }
    }

    /// Why the service refuses the requests of an organization that is not marked as suspended and not damaged; nil if it serves
    /// them.
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

    /// The SQL condition that the organization `o` is under a retired key-encryption key. The condition is false for all
    /// organizations while a table that it reads is missing.
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

    private init(_ row: PostgresRow, _ key: Key?) throws {
        entry = OrganizationEntry(
            organization: try Self.organization(row), createdOn: try row.decode(2), attachedOn: try row.decodeIfPresent(3))
        suspendedOn = try row.decodeIfPresent(4)
        bytes = try row.decodeIfPresent(6)
        cellBytes = bytes == nil ? nil : try row.decodeIfPresent(7)
        keyState = key?.isThere == true ? "active" : "key required"
        (keyVersion, keySetOn, nextChangeDue, keyCopiedOn) = (key?.version, key?.setOn, key?.nextChangeDue, key?.copiedOn)
        missingTables = try row.decode(8, as: String.self).split(separator: ", ").map(String.init)
        let hasSchema = try row.decode(9, as: Bool.self)
        status =
            if try row.decode(5, as: Bool.self) {
                .beingRemoved
            } else if hasSchema, !missingTables.isEmpty {
                .tableMissing
            } else if keyVersion == nil {
                .schemaMissing
            } else if try row.decode(10, as: Bool.self) {
                .underRetiredKEK
            } else if suspendedOn != nil {
                .suspended
            } else {
                .served
            }
    }
}
