import CellCrypto
import PostgresClient
import Tenancy

extension OrganizationMove {
    /// Refuses a move to a database that does not accept a key-encryption key under which something of the organization is sealed.
    /// The servers of that database would refuse the organization.
    func checkKeyEncryptionKeys(
        of organization: Organization, _ from: PostgresConnection, _ to: PostgresConnection
    ) async throws {
        let ids = try await from.run { connection in
            try connection.query(
                """
                SELECT kek_id FROM config.attested_state WHERE organization_id = $1
                UNION SELECT kek_id FROM config.organization_key WHERE organization_id = $1 AND purged_on IS NULL ORDER BY 1
                """, [.uuid(organization.id)]
            ).map { try $0.decode(0, as: String.self) }
        }
        try await requireSameKey(of: ids, from)
        let (replaced, servers) = try await to.run { connection in
            (try ReplacedKeyEncryptionKey.all(on: connection).map(\.id), try ServerPresence.running(on: connection))
        }
        for id in ids {
            if replaced.contains(id) {
                throw Self.refusal(
                    "\(name) is under the key-encryption key \(id), which was replaced in the database \(target.name). Nothing was changed. First run "
                        + "fieldseal kek rotate --database \(source.name), and wait until it says that all is done.")
            }
            if let server = servers.first(where: { !$0.kekIDs.contains(id) }) {
                throw Self.refusal(
                    "\(name) is under the key-encryption key \(id), which a server on \(server.host) of the database \(target.name) does not know. "
                        + "Nothing was changed. Name the key in that server's settings, and restart it.")
            }
        }
    }

    /// Refuses a move between databases with different key-encryption keys, because a move wraps no key anew.
    private func requireSameKey(of ids: [String], _ from: PostgresConnection) async throws {
        // Signing keys are copied too, so their key-encryption keys count as well.
        let all = try await from.run { connection in
            try ids
                + connection.query("SELECT DISTINCT kek_id FROM config.signing_key WHERE retired_on IS NULL").map {
                    try $0.decode(0, as: String.self)
                }
        }
        guard let other = all.first(where: { !target.registry.kek.ids.contains($0) }) else { return }
        guard source.registry.kek.ids.contains(other) else {
            throw Self.refusal(
                "A row of config in the database \(source.name) names the key-encryption key \(other), which neither database has. Nothing was "
                    + "changed. SQL may have written that id: fieldseal doctor names the row, and says what corrects it.")
        }
        throw Self.refusal(
            "\(name) is under the key-encryption key \(other), and the database \(target.name) has another one, \(target.registry.kek.id). An "
                + "organization is moved between databases with the same key only. Nothing was changed. Give both the same key first (kek "
                + "rotate), or take it there with org export and org import.")
    }
}
