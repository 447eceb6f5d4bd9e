import CellCrypto
import Foundation
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports keys that this service can't open, remains of interrupted key changes, and organizations that are not served.
    ///
    /// - Parameter organization: The organization to check; nil for all.
    func config(of organization: Organization? = nil, on connection: isolated PostgresConnection) throws -> [Finding] {
        try foreignKeys(of: organization?.id, on: connection).flatMap(Self.findings)
            + deadChanges(of: organization?.id, on: connection)
            + notServed(organization?.id, on: connection)
    }

    /// The versions of an organization's key whose rows name a key-encryption key that this program does not have.
    private struct ForeignKeys {
        let organization: String
        var wrapped = 0
        /// How many of these rows open under the key-encryption key of this program.
        var renamed = 0
    }

    private func foreignKeys(of id: UUID?, on connection: isolated PostgresConnection) throws -> [ForeignKeys] {
        let rows = try connection.query(
            """
            SELECT o.name, k.organization_id, k.key_version, k.wrapped_data
              FROM config.organization_key AS k JOIN config.organization AS o USING (organization_id)
             WHERE k.kek_id <> ALL ($1) AND k.purged_on IS NULL AND ($2 IS NULL OR o.organization_id = $2) ORDER BY 1
            """, [.texts(deployment.kek.ids), .uuid(id)])
        return try rows.reduce(into: []) { all, row in
            let name: String = try row.decode(0)
            if all.last?.organization != name { all.append(ForeignKeys(organization: name)) }
            let version = try UInt32(clamping: row.decode(2, as: Int.self))
            let data = try row.decodeIfPresent(3, as: PostgresBytes.self)?.bytes ?? []
            let organization: UUID = try row.decode(1)
            if (try? deployment.kek.unwrapData(data, organization: organization, keyVersion: version)) != nil {
                all[all.count - 1].renamed += 1
            } else {
                all[all.count - 1].wrapped += 1
            }
        }
    }

    private static func findings(of keys: ForeignKeys) -> [Finding] {
        var findings: [Finding] = []
        if keys.wrapped > 0 {
            findings.append(
                Finding(
                    .warning, "wrapped-under-another-kek", keys.organization,
                    "\(keys.wrapped) versions of the organization's key are wrapped under a key-encryption key that this program "
                        + "lacks",
                    advice:
                        "put that key-encryption key back; or activate the current version, and purge the retired ones: "
                        + "fieldseal key purge"))
        }
        if keys.renamed > 0 {
            findings.append(
                Finding(
                    .warning, "kek-id-changed", keys.organization,
                    "the rows of \(keys.renamed) versions of its key name a key-encryption key that does not seal them: SQL wrote that "
                        + "id. The keys still open, and the service works",
                    advice: "find out who changed config.organization_key; the next fieldseal kek rotate writes the right id"))
        }
        return findings
    }

    /// Reports key changes that were interrupted and left their row in `config.key_change`.
    private func deadChanges(of id: UUID?, on connection: isolated PostgresConnection) throws -> [Finding] {
        var findings: [Finding] = []
        let dead = try connection.query(
            """
            SELECT o.name FROM config.key_change AS c JOIN config.organization AS o USING (organization_id)
             WHERE NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = c.backend) AND ($1 IS NULL OR c.organization_id = $1)
            """, [.uuid(id)])
        for row in dead {
            findings.append(
                Finding(
                    .notice, "dead-change", try row.decode(0, as: String.self),
                    "a key change was interrupted, and its row in config.key_change was left behind",
                    advice: "the service's next sweep removes the row within minutes, and so does the next key change"))
        }
        return findings
    }
}
