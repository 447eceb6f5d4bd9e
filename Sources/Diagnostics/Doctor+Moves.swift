import PostgresClient

extension Doctor {
    /// Moves of organizations to or from this database that are not finished.
    func moves(on connection: isolated PostgresConnection) throws -> [Finding] {
        let isThere = try connection.query("SELECT to_regclass('config.organization_move') IS NOT NULL")
        guard try isThere[0].decode(0) else { return [] }
        return try connection.query(
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
                    ? "a copy of it is here, which came from the database \(other) and is not in force yet"
                    : "it was moved to the database \(other), and the original is still here; it is not in force any more",
                advice: "if no move is under way, run fieldseal org move \(name) again, which ends or undoes it")
        }
    }
}
