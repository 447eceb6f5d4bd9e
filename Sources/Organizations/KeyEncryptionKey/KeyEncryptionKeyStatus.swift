import Foundation
import PostgresClient
package import Tenancy

/// What is sealed or tagged under which key-encryption key, in the whole deployment.
package struct KeyEncryptionKeyStatus: Sendable {
    /// The number of things of one kind under one key-encryption key.
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
        try await deployment.pool.withConnection { try read(on: $0) }
    }

    static func read(on connection: isolated PostgresConnection) throws -> KeyEncryptionKeyStatus {
        var uses = try connection.query(
            """
            SELECT kek_id, 'organizations', count(*) FROM config.attested_state GROUP BY 1
            UNION ALL SELECT kek_id, 'organization keys', count(*) FROM config.organization_key WHERE wrapped_data IS NOT NULL GROUP BY 1
            UNION ALL SELECT kek_id, 'signing keys', count(*) FROM config.signing_key GROUP BY 1
            UNION ALL SELECT kek_id, 'beginnings of event chains', count(*) FROM config.event_archive GROUP BY 1
            UNION ALL SELECT kek_id, 'checkpoints of event chains', count(*) FROM config.event_checkpoint GROUP BY 1
            UNION ALL SELECT sealed_under, 'archive keys', count(*) FROM config.replaced_kek GROUP BY 1
            """
        ).map { Use(kekID: try $0.decode(0), what: try $0.decode(1), count: try $0.decode(2)) }
        for row in try connection.query("SELECT organization_id, name FROM config.organization ORDER BY name") {
            let organization = Organization(id: try row.decode(0), name: try row.decode(1))
            let table = organization.qualified("mail_destination")
            guard try connection.query("SELECT to_regclass($1) IS NOT NULL", [.text(table)])[0].decode(0) else { continue }
            uses += try connection.query(
                """
                SELECT d.kek_id, count(*) FROM \(table) AS d
                 WHERE EXISTS (SELECT FROM \(organization.qualified("emailserverprofile")) AS p WHERE p.emailserverprofileid = d.record_id)
                    OR EXISTS (SELECT FROM \(organization.qualified("mailbox")) AS m WHERE m.mailboxid = d.record_id) GROUP BY 1
                """
            ).map { Use(kekID: try $0.decode(0), what: "mail server settings of \(organization.name)", count: try $0.decode(1)) }
        }
        return KeyEncryptionKeyStatus(
            uses: uses, replaced: try ReplacedKeyEncryptionKey.all(on: connection),
            servers: try ServerPresence.running(on: connection))
    }
}
