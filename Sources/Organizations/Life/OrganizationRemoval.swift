package import Foundation
import JSON
import KeyManagement
import Model
import PostgresClient
package import Tenancy

/// Removes an organization from the deployment: its schema with all records, cells and events, its keys, its clients and people.
///
/// A removal takes two transactions, with an optional export between them. The first transaction suspends the organization and
/// marks its removal. The doctor reports the mark until the second transaction has removed everything. Each of the two transactions
/// can be repeated.
package struct OrganizationRemoval: Sendable {
    private let registry: OrganizationRegistry

    /// How long to wait for locks. A running request may hold a lock that long.
    static let lockTimeout = "60s"

    /// - Parameter registry: Connects as a role that may act as the owner.
    package init(_ registry: OrganizationRegistry) { self.registry = registry }

    /// The organization that is about to be removed.
    package struct Plan: Sendable {
        package let organization: Organization
        /// Whether there is a schema, which can be exported.
        package let hasSchema: Bool
        /// Whether a copy of the current key was ever taken out of the deployment. Without the key an export can't be opened.
        package let isKeyCopied: Bool
        /// When an earlier attempt began; nil if there was none.
        package let begunOn: Date?
    }

    /// The report of a removal. Nothing else remains of the organization, so the report includes the end of the chain of
    /// security events.
    package struct Summary: Sendable {
        package let organization: Organization
        /// Each key with its version. Copies of the keys open older backups.
        package let keys: [(version: Int, fingerprint: String)]
        /// The number of security events, and the hash of the newest in hexadecimal; nil without an attested state.
        package let events: Int?
        package let head: String?
    }

    /// Reads what a removal of the organization needs to know. Changes nothing.
    ///
    /// - Throws: ``FieldsealError`` when there is no such organization.
    package func plan(name: String) async throws -> Plan {
        try await registry.asOwner { connection in
            let organization = try registry.registered(name, on: connection)
            let row = try connection.query(
                """
                SELECT to_regclass($2) IS NOT NULL, o.removal_begun_on,
                       EXISTS (SELECT FROM config.organization_key AS k
                                WHERE k.organization_id = $1 AND k.retired_on IS NULL AND k.copied_on IS NOT NULL)
                  FROM config.organization AS o WHERE o.organization_id = $1
                """, [.uuid(organization.id), .text(organization.qualified("encryption"))])[0]
            return Plan(
                organization: organization, hasSchema: try row.decode(0), isKeyCopied: try row.decode(2),
                begunOn: try row.decodeIfPresent(1))
        }
    }

    /// Suspends the organization, and marks its removal.
    ///
    /// - Returns: The reason if no security event was recorded, because the organization's state does not verify or its schema is
    ///   missing.
    package func begin(_ organization: Organization, by caller: Caller) async throws -> String? {
        var problem: String?
        do {
            try await registry.asOwner { connection in
                try registry.suspend(organization, .organizationRemovalBegun, by: caller, on: connection)
                try mark(organization, by: caller, on: connection)
            }
        } catch let error as FieldsealError where [.organizationDisabled, .keySourceMissing].contains(error.code) {
            problem = error.message
        } catch let error as PostgresError where [.undefinedTable, .undefinedSchema, .undefinedColumn].contains(error.state) {
            problem = "its schema is missing or incomplete"
        }
        if problem != nil { try await registry.asOwner { try mark(organization, by: caller, on: $0) } }
        return problem
    }

    private func mark(_ organization: Organization, by caller: Caller, on connection: isolated PostgresConnection) throws {
        try registry.markSuspended(organization, by: caller, on: connection)
        _ = try connection.query(
            "UPDATE config.organization SET removal_begun_on = coalesce(removal_begun_on, now()) WHERE organization_id = $1",
            [.uuid(organization.id)])
    }

    /// Removes everything in one transaction, after its removal was marked.
    ///
    /// - Throws: ``FieldsealError`` when its removal was not marked, while its key is being set, when something outside of its
    ///   schema depends on the schema, and when other sessions hold its tables.
    package func finish(_ organization: Organization) async throws -> Summary {
        let summary = try await registry.asOwner { connection in
            let rows = try connection.query(
                "SELECT removal_begun_on IS NOT NULL FROM config.organization WHERE organization_id = $1 FOR UPDATE",
                [.uuid(organization.id)])
            guard let row = rows.first else { throw FieldsealError.unknownOrganization(organization.name) }
            guard try row.decode(0, as: Bool.self) else {
                throw FieldsealError(
                    .invalidArgument, "The removal of \(organization.name) was not begun, or was undone. Nothing was removed.")
            }
            try KeySetLock.take(organization, on: connection)
            try refuseDependents(of: organization, on: connection)
            let report = try describe(organization, on: connection)
            do {
                try connection.execute("SET LOCAL lock_timeout = '\(Self.lockTimeout)'; SET LOCAL fieldseal.maintenance = 'on'")
                try connection.execute("DROP SCHEMA IF EXISTS \(quoteIdentifier(organization.schema)) CASCADE")
            } catch let error as PostgresError where error.state == .lockNotAvailable {
                throw HeldTables(organization: organization, change: "removed")
            }
            try deleteRows(of: organization, on: connection)
            return report
        }
        try? await vacuum()
        return summary
    }

    /// Throws if something outside of the organization's schema depends on it, because dropping the schema would drop the dependent
    /// object too.
    private func refuseDependents(of organization: Organization, on connection: isolated PostgresConnection) throws {
        let rows = try connection.query(
            """
            SELECT DISTINCT r.ev_class::regclass::text
              FROM pg_depend AS d JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
              JOIN pg_class AS v ON v.oid = r.ev_class
              JOIN pg_class AS t ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid
             WHERE t.oid IN \(SchemaMembers.relations(of: "to_regnamespace($1)")) AND v.relnamespace <> t.relnamespace
            UNION
            SELECT c.conrelid::regclass::text FROM pg_constraint AS c JOIN pg_class AS t ON t.oid = c.confrelid
              JOIN pg_class AS f ON f.oid = c.conrelid
             WHERE t.oid IN \(SchemaMembers.relations(of: "to_regnamespace($1)")) AND f.relnamespace <> t.relnamespace
            ORDER BY 1
            """, [.text(quoteIdentifier(organization.schema))])
        let names = try rows.map { try $0.decode(0, as: String.self) }
        guard names.isEmpty else {
            throw FieldsealError(
                .invalidArgument,
                "Objects in other schemas refer to tables of \(organization.name): \(names.joined(separator: ", ")). They would be "
                    + "dropped too. Drop or change them first, then run the command again.")
        }
    }

    private func describe(_ organization: Organization, on connection: isolated PostgresConnection) throws -> Summary {
        let state = try connection.query(
            "SELECT events, encode(head, 'hex') FROM config.attested_state WHERE organization_id = $1", [.uuid(organization.id)]
        ).first
        let keys = try connection.query(
            "SELECT key_version, fingerprint FROM config.organization_key WHERE organization_id = $1 ORDER BY 1, 2",
            [.uuid(organization.id)])
        return Summary(
            organization: organization, keys: try keys.map { (version: try $0.decode(0), fingerprint: try $0.decode(1)) },
            events: try state?.decode(0), head: try state?.decode(1))
    }

    func deleteRows(of organization: Organization, on connection: isolated PostgresConnection) throws {
        // Failed sign-ins are stored by an id: for people by the organization's id, and for clients by the client's id.
        _ = try connection.query(
            """
            DELETE FROM config.failed_sign_in AS f
             USING (SELECT $1::text AS id UNION ALL SELECT client_id::text FROM config.api_client WHERE organization_id = $1::uuid) AS i
             WHERE position(i.id IN lower(f.account)) > 0
            """, [.text(organization.id.text)])
        // An interrupted move of the organization may have left a journal.
        try MoveJournal(of: organization).drop(on: connection)
        for table in ["organization_key", "migration", "unsealed_audit", "organization"] {
            _ = try connection.query("DELETE FROM config.\(table) WHERE organization_id = $1", [.uuid(organization.id)])
        }
    }

    /// Vacuums the deleted rows from the tables of `config`, as far as no transaction needs them.
    private func vacuum() async throws {
        let connection = try await PostgresConnection.connect(registry.conninfo)
        try await connection.run { connection in
            try connection.execute("SET ROLE fieldseal_owner")
            for table in ["organization_key", "attested_state", "api_client_secret", "console_user"] {
                try connection.execute("VACUUM config.\(table)")
            }
        }
        await connection.close()
    }
}
