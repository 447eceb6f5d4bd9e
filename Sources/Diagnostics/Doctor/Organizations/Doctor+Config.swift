import CellCrypto
import Foundation
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports keys that this service can't open, remains of interrupted key changes, and organizations that are not served.
    ///
    /// - Parameter organization: The organization to check; nil for all.
    func config(of organization: Organization? = nil, on connection: isolated PostgresConnection) throws -> [Finding] {
        try foreignKeys(of: organization?.id, on: connection) + deadChanges(of: organization?.id, on: connection)
            + notServed(organization?.id, on: connection)
    }

    /// Keys that are wrapped under another key-encryption key.
    private func foreignKeys(of id: UUID?, on connection: isolated PostgresConnection) throws -> [Finding] {
        var findings: [Finding] = []
        let foreign = try connection.query(
            """
            SELECT o.name, count(*), bool_or(k.retired_on IS NULL) FROM config.organization_key AS k JOIN config.organization AS o USING (organization_id)
             WHERE k.kek_id <> ALL ($1) AND k.purged_on IS NULL AND ($2 IS NULL OR o.organization_id = $2) GROUP BY 1
            """, [.texts(deployment.kek.ids), .uuid(id)])
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

    /// Key changes that were interrupted and left something behind.
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
                    "a key change was interrupted and left its progress behind",
                    advice: "the service's next sweep, within minutes, removes it; or the next key change does"))
        }
        return findings
    }
}
