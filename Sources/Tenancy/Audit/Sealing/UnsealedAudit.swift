import Foundation
package import PostgresClient

/// The notes in `config.unsealed_audit`: organizations whose audit may have entries that are not sealed.
///
/// The audit trigger writes a note if the organization has no note of the last half hour. An older note is deleted in two steps.
/// First the note gets the number of the next transaction. When all earlier transactions have ended, and no entry is unsealed, the
/// note is deleted.
package enum UnsealedAudit {
    /// The time for which the trigger relies on a note (`note_audit`).
    private static let lifetime = "30 minutes"

    /// Writes a note, for example for an organization whose rows were copied while its triggers did not fire.
    package static func note(_ organization: Organization, on connection: isolated PostgresConnection) throws {
        _ = try connection.query("INSERT INTO config.unsealed_audit (organization_id) VALUES ($1)", [.uuid(organization.id)])
    }

    /// How long a query waits for a lock, so that locks on a few organizations do not delay other organizations.
    private static let lockTimeout = "1s"

    /// The organizations that have a note and may have entries to seal. Deletes notes that are not needed any more.
    package static func names(in pool: ConnectionPool) async throws -> [String] {
        var names: [String] = []
        for (id, name) in try await noted(in: pool) where !Task.isCancelled {
            guard let name else {
                // The organization was removed, or moved to another database.
                try? await delete("noted_on < now() - interval '\(lifetime)'", of: id, in: pool)
                continue
            }
            let organization = Organization(id: id, name: name)
            switch await hasUnsealed(organization, in: pool) {
            case true?: names.append(name)
            // If the deletion fails, the note stays and costs one query in each turn.
            case false?: try? await settle(organization, in: pool)
            case nil: break
            }
        }
        return names
    }

    /// The organizations that have a note. Returns all organizations if the notes can't be read, for example because a session has
    /// locked the table.
    private static func noted(in pool: ConnectionPool) async throws -> [(UUID, String?)] {
        do {
            return try await pool.withConnection { connection -> [(UUID, String?)] in
                try looking(on: connection) {
                    try connection.query(
                        """
                        SELECT DISTINCT u.organization_id, o.name
                          FROM config.unsealed_audit AS u LEFT JOIN config.organization AS o USING (organization_id)
                        """
                    ).map { (try $0.decode(0), try $0.decodeIfPresent(1)) }
                }
            }
        } catch let error as PostgresError where error.kind == .server {
            return try await pool.withConnection { connection -> [(UUID, String?)] in
                try connection.query("SELECT organization_id, name FROM config.organization")
                    .map { (try $0.decode(0), try $0.decodeIfPresent(1)) }
            }
        }
    }

    /// How many organizations each turn checks even without a note, because SQL may have deleted the note.
    private static let inTurn = 10

    /// Checks the next few organizations in order of their ids. Returns organizations that may have entries to seal, and the last
    /// id that was checked.
    static func names(behind place: UUID?, in pool: ConnectionPool) async throws -> (names: [String], place: UUID?) {
        let organizations = try await pool.withConnection { connection in
            try connection.query(
                """
                SELECT organization_id, name FROM config.organization WHERE $1::uuid IS NULL OR organization_id > $1
                 ORDER BY organization_id LIMIT \(inTurn)
                """, [.uuid(place)]
            ).map { Organization(id: try $0.decode(0), name: try $0.decode(1)) }
        }
        var names: [String] = []
        for organization in organizations {
            if await hasUnsealed(organization, in: pool) ?? false { names.append(organization.name) }
        }
        // After the last organization, the next turn begins with the first.
        return (names, organizations.count < inTurn ? nil : organizations.last?.id)
    }

    /// Whether there are entries to seal; nil for a schema that is missing or not migrated yet, which the doctor names.
    ///
    /// Returns true if the query fails. Sealing then fails too, and the failure is counted.
    private static func hasUnsealed(_ organization: Organization, in pool: ConnectionPool) async -> Bool? {
        do {
            return try await pool.withConnection { connection -> Bool? in
                try looking(on: connection) { () -> Bool? in
                    let isThere: Bool = try connection.query(
                        "SELECT to_regclass($1) IS NOT NULL", [.text(organization.qualified("audit_block"))])[0].decode(0)
                    guard isThere else { return nil }
                    return try connection.query(
                        "SELECT EXISTS (SELECT FROM \(organization.qualified("audit")) WHERE block IS NULL)")[0].decode(0)
                }
            }
        } catch {
            return true
        }
    }

    /// Deletes the note of an organization without entries to seal, in two steps.
    private static func settle(_ organization: Organization, in pool: ConnectionPool) async throws {
        try await delete(
            """
            quiet_after <= pg_snapshot_xmin(pg_current_snapshot())
               AND NOT EXISTS (SELECT FROM \(organization.qualified("audit")) WHERE block IS NULL)
            """, of: organization.id, in: pool)
        try await change(
            "UPDATE config.unsealed_audit SET quiet_after = pg_snapshot_xmax(pg_current_snapshot())",
            "quiet_after IS NULL AND noted_on < now() - interval '\(lifetime)'", of: organization.id, in: pool)
    }

    private static func delete(_ condition: String, of organization: UUID, in pool: ConnectionPool) async throws {
        try await change("DELETE FROM config.unsealed_audit", condition, of: organization, in: pool)
    }

    /// Changes an organization's notes, except those that another session has locked.
    private static func change(_ change: String, _ condition: String, of organization: UUID, in pool: ConnectionPool) async throws {
        try await pool.withConnection { connection in
            try looking(on: connection) {
                _ = try connection.query("LOCK TABLE config.unsealed_audit IN ROW EXCLUSIVE MODE NOWAIT")
                _ = try connection.query(
                    """
                    \(change) WHERE ctid = ANY (ARRAY(
                        SELECT ctid FROM config.unsealed_audit WHERE organization_id = $1 AND \(condition) FOR UPDATE SKIP LOCKED))
                    """, [.uuid(organization)])
            }
        }
    }

    /// Runs `body` in a transaction that waits for each lock at most ``lockTimeout``.
    private static func looking<Result>(on connection: isolated PostgresConnection, _ body: () throws -> Result) throws -> Result {
        try connection.transaction {
            _ = try connection.query("SELECT pg_catalog.set_config('lock_timeout', $1, true)", [.text(lockTimeout)])
            return try body()
        }
    }
}
