import PostgresClient

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

    /// Reports the journals of moves that are running or were killed. The comparison of schemas ignores a journal's triggers, so
    /// each journal gets a finding.
    private func journals(on connection: isolated PostgresConnection) throws -> [Finding] {
        try connection.query(
            """
            SELECT n.nspname::text, o.name, pg_try_advisory_xact_lock_shared(hashtextextended(n.nspname::text, 0))
              FROM pg_namespace AS n LEFT JOIN config.organization AS o ON n.nspname = 'moving_' || replace(o.organization_id::text, '-', '')
             WHERE n.nspname ~ '^moving_[0-9a-f]{32}$' ORDER BY n.nspname
            """
        ).map { row in
            let (schema, name): (String, String?) = (try row.decode(0), try row.decodeIfPresent(1))
            guard let name else {
                return Finding(
                    .warning, "move-journal-left", Finding.deployment,
                    "the schema \(schema) is the journal of a move of an organization that no longer exists in this database",
                    advice: "DROP SCHEMA \(schema) CASCADE")
            }
            guard try row.decode(2) else {
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
}
