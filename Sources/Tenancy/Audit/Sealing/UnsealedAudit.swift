import Foundation
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
                switch try hasUnsealed(organization, on: connection) {
                case true?: names.append(name)
                case false?: try settle(organization, on: connection)
                case nil: break
                }
            }
            return names
        }
    }

    /// How many organizations a turn looks at whether or not they are noted: SQL may have deleted a note.
    private static let inTurn = 10

    /// Organizations with entries to seal among the few that follow on another one, and the last of those few.
    static func names(behind place: UUID?, in pool: ConnectionPool) async throws -> (names: [String], place: UUID?) {
        try await pool.withConnection { connection in
            let rows = try connection.query(
                """
                SELECT organization_id, name FROM config.organization WHERE $1::uuid IS NULL OR organization_id > $1
                 ORDER BY organization_id LIMIT \(inTurn)
                """, [.uuid(place)])
            var names: [String] = []
            for row in rows {
                let organization = Organization(id: try row.decode(0), name: try row.decode(1))
                if try hasUnsealed(organization, on: connection) ?? false { names.append(organization.name) }
            }
            // Behind the last one, the first follows.
            return (names, try rows.count < inTurn ? nil : rows[rows.count - 1].decode(0))
        }
    }

    /// Whether there are entries to seal; nil for a schema that is missing, not migrated yet, or damaged: the doctor
    /// says what is wrong with it, and the others are sealed.
    private static func hasUnsealed(_ organization: Organization, on connection: isolated PostgresConnection) throws -> Bool? {
        let isThere: Bool = try connection.query(
            "SELECT to_regclass($1) IS NOT NULL", [.text(organization.qualified("audit_block"))])[0].decode(0)
        guard isThere else { return nil }
        do {
            return try connection.query("SELECT EXISTS (SELECT FROM \(organization.qualified("audit")) WHERE block IS NULL)")[0]
                .decode(0)
        } catch let error as PostgresError where error.kind == .server {
            return nil
        }
    }

    /// Forgets the note of an organization without entries to seal, in two steps.
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
