import Foundation
import Organizations
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports unfinished moves of organizations to or from this database.
    func moves(on connection: isolated PostgresConnection) throws -> [Finding] {
        let isThere = try connection.query("SELECT to_regclass('config.organization_move') IS NOT NULL")
        guard try isThere[0].decode(0) else { return [] }
        return try journals(on: connection)
            + connection.query(
                """
                SELECT o.name, m.state, m.other_database FROM config.organization_move AS m
                  JOIN config.organization AS o USING (organization_id) ORDER BY o.name
                """
            ).map { row in
                let (name, other): (String, String) = (try row.decode(0), try row.decode(2))
                let isCopy = try row.decode(1, as: String.self) == "arriving"
                return Finding(
                    .error, "move-not-ended", name,
                    isCopy
                        ? "this database has a copy of the organization from the database \(other), which is not in force yet"
                        : "the organization was moved to the database \(other). The original is still here, but no longer in force",
                    advice: "if no move is under way, run fieldseal org move \(name) again, which finishes or undoes the move")
            }
    }

    /// Reports the journals of moves that are running or were killed, and objects in them that no move makes. The comparison of
    /// schemas passes over the triggers of a move, so each journal gets a finding.
    private func journals(on connection: isolated PostgresConnection) throws -> [Finding] {
        try connection.query(
            """
            SELECT n.nspname::text, o.organization_id, o.name, pg_try_advisory_xact_lock_shared(hashtextextended(n.nspname::text, 0)),
                   (SELECT min(a.usename::text) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
                     WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.mode = 'ExclusiveLock' AND a.datname = current_database()
                       AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(n.nspname::text, 0)
                       AND NOT pg_has_role(a.usesysid, 'fieldseal_owner', 'MEMBER'))
              FROM pg_namespace AS n LEFT JOIN config.organization AS o ON n.nspname = 'moving_' || replace(o.organization_id::text, '-', '')
             WHERE n.nspname ~ '^moving_[0-9a-f]{32}$' ORDER BY n.nspname
            """
        ).flatMap { row -> [Finding] in
            let schema: String = try row.decode(0)
            guard let id: UUID = try row.decodeIfPresent(1) else {
                return [
                    Finding(
                        .warning, "move-journal-left", Finding.deployment,
                        "the schema \(schema) is named like the journal of a move, and no organization of this database has its id",
                        advice: "DROP SCHEMA \(schema) CASCADE")
                ]
            }
            let organization = Organization(id: id, name: try row.decode(2))
            let foreign = try MoveJournalContents(of: organization, on: connection).foreign.map { kind, name in
                Finding(
                    .error, "foreign-object", organization.name, "the \(kind) \(name) of \(schema) is not the program's",
                    advice: "find out who made it, and drop it")
            }
            let isFree: Bool = try row.decode(3)
            return foreign + [Self.journal(schema, of: organization.name, isFree: isFree, heldBy: try row.decodeIfPresent(4))]
        }
    }

    /// The finding about the journal of a move.
    ///
    /// - Parameters:
    ///   - isFree: Whether no session holds the journal's lock.
    ///   - other: The login that holds the lock and may not act as the owner; nil if a move may hold the lock.
    private static func journal(_ schema: String, of name: String, isFree: Bool, heldBy other: String?) -> Finding {
        if !isFree, let other {
            return Finding(
                .warning, "move-journal-left", name,
                "a session of \(other) holds the lock of the journal \(schema), and that login can't move organizations",
                advice: "find out who did it, and end the session; then run fieldseal org move \(name) again, or with --rehearse")
        }
        if !isFree {
            return Finding(
                .notice, "move-under-way", name,
                "the organization is being moved. The schema \(schema) and triggers note what is written meanwhile",
                advice: "do nothing while fieldseal org move runs")
        }
        return Finding(
            .warning, "move-journal-left", name,
            "a move of the organization was interrupted. The schema \(schema) and its triggers were left behind, and note "
                + "nothing any more",
            advice: "run fieldseal org move \(name) again, or with --rehearse if the organization is to stay here: "
                + "both remove the schema and the triggers")
    }
}
