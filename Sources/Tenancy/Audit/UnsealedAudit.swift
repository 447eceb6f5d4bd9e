package import PostgresClient

/// The notes in `config.unsealed_audit`: organizations whose audit may have entries that are not sealed.
///
/// The trigger of an organization's audit writes a note unless one is there that is younger than half an hour. A note goes in two steps.
/// After that time, the transactions that may still rely on it are remembered; once they have ended, and nothing is left, it is deleted.
package enum UnsealedAudit {
    /// The time for which the trigger relies on a note (`note_audit`).
    private static let lifetime = "30 minutes"

    /// Writes a note, as for an organization that was copied without its triggers.
    package static func note(_ organization: Organization, on connection: isolated PostgresConnection) throws {
        _ = try connection.query("INSERT INTO config.unsealed_audit (organization_id) VALUES ($1)", [.uuid(organization.id)])
    }

    /// The organizations that are noted and have entries to seal, and removes notes that nothing relies on.
    package static func names(in pool: ConnectionPool) async throws -> [String] {
        try await pool.withConnection { connection in
            let organizations = try connection.query(
                """
                SELECT DISTINCT u.organization_id, o.name FROM config.unsealed_audit AS u LEFT JOIN config.organization AS o USING (organization_id)
                """)
            var names: [String] = []
            for row in organizations {
                guard let name: String = try row.decodeIfPresent(1) else {
                    // It was removed, or moved to another database.
                    _ = try connection.query(
                        "DELETE FROM config.unsealed_audit WHERE organization_id = $1 AND noted_on < now() - interval '\(lifetime)'",
                        [.uuid(try row.decode(0))])
                    continue
                }
                let organization = Organization(id: try row.decode(0), name: name)
                do {
                    switch try hasUnsealed(organization, on: connection) {
                    case true?: names.append(name)
                    case false?: try settle(organization, on: connection)
                    case nil: break
                    }
                } catch let error as PostgresError where error.kind == .server {
                    // The doctor says what is wrong with this organization; the others are sealed.
                    continue
                }
            }
            return names
        }
    }

    /// Whether there are entries to seal; nil for a schema that is missing or not migrated yet.
    private static func hasUnsealed(_ organization: Organization, on connection: isolated PostgresConnection) throws -> Bool? {
        let isThere: Bool = try connection.query(
            "SELECT to_regclass($1) IS NOT NULL", [.text(organization.qualified("audit_block"))])[0].decode(0)
        guard isThere else { return nil }
        return try connection.query("SELECT EXISTS (SELECT FROM \(organization.qualified("audit")) WHERE block IS NULL)")[0].decode(
            0)
    }

    private static func settle(_ organization: Organization, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            """
            DELETE FROM config.unsealed_audit WHERE organization_id = $1 AND quiet_after <= pg_snapshot_xmin(pg_current_snapshot())
               AND NOT EXISTS (SELECT FROM \(organization.qualified("audit")) WHERE block IS NULL)
            """, [.uuid(organization.id)])
        _ = try connection.query(
            """
            UPDATE config.unsealed_audit SET quiet_after = pg_snapshot_xmax(pg_current_snapshot())
             WHERE organization_id = $1 AND quiet_after IS NULL AND noted_on < now() - interval '\(lifetime)'
            """, [.uuid(organization.id)])
    }
}
