import CellCrypto
import PostgresClient

extension Doctor {
    /// Rows that grant power, keys that nobody may have a copy of, and what dead changes left.
    func config(on connection: isolated PostgresConnection) throws -> [Finding] {
        try clients(on: connection) + people(on: connection) + foreignKeys(on: connection) + deadChanges(on: connection)
    }

    /// Clients whose rows this service did not write.
    private func clients(on connection: isolated PostgresConnection) throws -> [Finding] {
        var findings: [Finding] = []
        let registry = ClientRegistry(deployment)
        let clients = try connection.query(
            """
            SELECT c.client_id, c.organization_id, c.name, c.systemuser_id, c.role, c.tag, o.name
              FROM config.api_client AS c JOIN config.organization AS o USING (organization_id) WHERE c.disabled_on IS NULL
            """)
        for row in clients {
            let tag = try registry.clientTag(try row.decode(0), try row.decode(1), try row.decode(3), try row.decode(4))
            guard !constantTimeEqual(tag, try row.decode(5, as: PostgresBytes.self).bytes) else { continue }
            findings.append(
                Finding(
                    .error, "client-not-made-here", try row.decode(6, as: String.self),
                    "the client \(try row.decode(2, as: String.self)) was not made by this service, and is not honoured",
                    advice: "find out who inserted it, and disable it: fieldseal client disable"))
        }
        return findings
    }

    /// People whose rows this service did not write.
    private func people(on connection: isolated PostgresConnection) throws -> [Finding] {
        var findings: [Finding] = []
        let users = ConsoleUsers(deployment)
        let people = try connection.query(
            """
            SELECT \(ConsoleUsers.columns), o.name FROM config.console_user AS u JOIN config.organization AS o USING (organization_id)
             WHERE u.disabled_on IS NULL
            """)
        for row in people where try users.row(row) == nil {
            findings.append(
                Finding(
                    .error, "user-not-made-here", try row.decode(9, as: String.self),
                    "the person \(try row.decode(2, as: String.self)) was not added by this service, and is not honoured",
                    advice: "find out who inserted the row, and disable it: fieldseal user disable"))
        }
        return findings
    }

    /// Keys that are wrapped under another key-encryption key.
    private func foreignKeys(on connection: isolated PostgresConnection) throws -> [Finding] {
        var findings: [Finding] = []
        let foreign = try connection.query(
            """
            SELECT o.name, count(*), bool_or(k.retired_on IS NULL) FROM config.organization_key AS k JOIN config.organization AS o USING (organization_id)
             WHERE k.kek_id <> $1 AND k.purged_on IS NULL GROUP BY 1
            """, [.text(deployment.kek.id)])
        for row in foreign {
            findings.append(
                Finding(
                    .warning, "wrapped-under-another-kek", try row.decode(0, as: String.self),
                    "\(try row.decode(1, as: Int.self)) versions of its key are wrapped under a key-encryption key that is not this one",
                    advice:
                        "put the other one back; or activate the current version, and purge the retired ones: fieldseal key purge"))
        }
        return findings
    }

    /// What key changes that died left behind.
    private func deadChanges(on connection: isolated PostgresConnection) throws -> [Finding] {
        var findings: [Finding] = []
        let dead = try connection.query(
            """
            SELECT o.name FROM config.key_change AS c JOIN config.organization AS o USING (organization_id)
             WHERE NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = c.backend)
            """)
        for row in dead {
            findings.append(
                Finding(
                    .notice, "dead-change", try row.decode(0, as: String.self), "a key change died and left its progress behind",
                    advice: "the service's next sweep, within minutes, or the next change takes it away"))
        }
        return findings
    }
}
