import Authentication
import JSON
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports people whose row in `config.verifier_layer` does not open. Sign-in ignores such a row.
    func verifierLayers(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        guard try connection.query("SELECT to_regclass('config.verifier_layer') IS NOT NULL")[0].decode(0) else { return [] }
        let people = try connection.query(
            """
            SELECT \(ConsoleUsers.columns) FROM config.console_user AS u JOIN config.verifier_layer AS l USING (user_id)
             WHERE u.organization_id = $1 ORDER BY lower(u.name)
            """, [.uuid(organization.id)]
        ).compactMap { try ConsoleUsers.row($0)?.row }
        return try people.compactMap { person in
            guard try VerifierLayers.isUnreadable(of: person, under: deployment.kek, on: connection) else { return nil }
            return Finding(
                .warning, "verifier-layers-unreadable", organization.name,
                "the row of \(person.name) in config.verifier_layer was written by SQL, so sign-ins ignore it. If the person has "
                    + "not signed in since the key-encryption key was last replaced, the right password is refused",
                advice: "find out who wrote the row; then DELETE FROM config.verifier_layer WHERE user_id = '\(person.id.text)'; "
                    + "if the password is refused: fieldseal user reset \(person.name)")
        }
    }
}
