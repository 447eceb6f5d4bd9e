import Foundation
import PostgresClient
package import Tenancy

/// How many keys, secrets and tags in the deployment are under each key-encryption key.
package struct KeyEncryptionKeyStatus: Sendable {
    /// The number of keys, secrets or tags of one kind under one key-encryption key.
    package struct Use: Sendable {
        package let kekID: String
        /// The kind in the plural, such as `signing keys`.
        package let what: String
        package let count: Int
    }

    package let uses: [Use]
    package let replaced: [ReplacedKeyEncryptionKey]
    package let servers: [ServerPresence]

    /// Reads the status as the service's role.
    package static func read(_ deployment: Deployment) async throws -> KeyEncryptionKeyStatus {
        let status = try await deployment.pool.withConnection { try read(on: $0) }
        return try await KeyEncryptionKeyStatus(
            uses: status.uses + mailServers(conninfo: deployment.conninfo), replaced: status.replaced, servers: status.servers)
    }

    /// Reads the status without the tags in organizations' schemas, which ``mailServers(conninfo:)`` reads.
    static func read(on connection: isolated PostgresConnection) throws -> KeyEncryptionKeyStatus {
        let uses = try connection.query(
            """
            SELECT kek_id, 'organizations', count(*) FROM config.attested_state GROUP BY 1
            UNION ALL SELECT kek_id, 'organization keys', count(*) FROM config.organization_key WHERE wrapped_data IS NOT NULL GROUP BY 1
            UNION ALL SELECT kek_id, 'signing keys', count(*) FROM config.signing_key GROUP BY 1
            UNION ALL SELECT kek_id, 'beginnings of event chains', count(*) FROM config.event_archive GROUP BY 1
            UNION ALL SELECT kek_id, 'checkpoints of event chains', count(*) FROM config.event_checkpoint GROUP BY 1
            UNION ALL SELECT sealed_under, 'archive keys', count(*) FROM config.replaced_kek GROUP BY 1
            """
        ).map { Use(kekID: try $0.decode(0), what: try $0.decode(1), count: try $0.decode(2)) }
        return KeyEncryptionKeyStatus(
            uses: uses, replaced: try ReplacedKeyEncryptionKey.all(on: connection),
            servers: try ServerPresence.running(on: connection))
    }

    /// The number of tagged settings of mail servers under each key-encryption key.
    static func mailServers(conninfo: String) async throws -> [Use] {
        let connection = try await PostgresConnection.connect(conninfo, applicationName: "fieldseal command")
        let organizations = try await connection.run { connection in
            try connection.query("SELECT organization_id, name FROM config.organization ORDER BY name").map {
                Organization(id: try $0.decode(0), name: try $0.decode(1))
            }
        }
        await connection.close()
        return try await OrganizationBatches.read(organizations, conninfo: conninfo) { organizations, connection in
            // Most organizations have no mail servers. For these organizations only one table is read.
            let tables = organizations.map { $0.qualified("mail_destination") }
            let there = try connection.query(
                "SELECT to_regclass(t) IS NOT NULL FROM unnest($1) WITH ORDINALITY AS t (t, n) ORDER BY n", [.texts(tables)])
            let some = try zip(tables, there).filter { try $1.decode(0) }.map(\.0)
            guard !some.isEmpty else { return [] }
            let filled = try connection.query(
                some.enumerated().map { "SELECT \($0) WHERE EXISTS (SELECT FROM \($1))" }.joined(separator: " UNION ALL ")
            ).map { some[try $0.decode(0)] }
            return try organizations.filter { filled.contains($0.qualified("mail_destination")) }.flatMap {
                try mailServers(of: $0, on: connection)
            }
        }
    }

    private static func mailServers(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Use] {
        try connection.query(
            """
            SELECT d.kek_id, count(*) FROM \(organization.qualified("mail_destination")) AS d
             WHERE EXISTS (SELECT FROM \(organization.qualified("emailserverprofile")) AS p WHERE p.emailserverprofileid = d.record_id)
                OR EXISTS (SELECT FROM \(organization.qualified("mailbox")) AS m WHERE m.mailboxid = d.record_id) GROUP BY 1
            """
        ).map { Use(kekID: try $0.decode(0), what: "mail server settings of \(organization.name)", count: try $0.decode(1)) }
    }
}
