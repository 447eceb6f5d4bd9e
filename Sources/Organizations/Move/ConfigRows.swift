import Foundation
import Model
import PostgresClient
import Tenancy

/// The rows of `config` that belong to an organization: its keys, clients, people and attested state. The rows are copied
/// unchanged, because an organization is moved only between databases with the same key-encryption key.
enum ConfigRows {
    struct Table: Sendable {
        let name: String
        /// The condition for the rows of the organization with the id `$1`.
        let condition: String

        fileprivate init(_ name: String, _ condition: String = "organization_id = $1") {
            (self.name, self.condition) = (name, condition)
        }
    }

    private static let people = "user_id IN (SELECT user_id FROM config.console_user WHERE organization_id = $1)"
    private static let clients = "client_id IN (SELECT client_id FROM config.api_client WHERE organization_id = $1)"

    /// Rows that the new schema refers to.
    static let first = [Table("organization")]
    /// The rows of the other tables. A row comes after the rows that it refers to.
    static let rest = [
        Table("organization_key"), Table("api_client"), Table("api_client_secret", clients), Table("api_client_key", clients),
        Table("console_user"), Table("console_recovery_code", people), Table("console_session", people),
        Table("verifier_layer", people), Table("console_view", people),
        Table("oidc_issuer"),
        Table("oidc_link", "issuer_id IN (SELECT issuer_id FROM config.oidc_issuer WHERE organization_id = $1)"),
        Table("key_control"), Table("approval"), Table("attested_state"), Table("event_archive"), Table("event_checkpoint"),
        Table("event_shipment"),
        // Issued tokens stay valid, and revoked tokens stay refused.
        Table("signing_key", "$1::uuid IS NOT NULL"), Table("exposed_token", "expires_on > now() AND $1::uuid IS NOT NULL"),
        // Assertions that were used are not accepted again; servers' clocks may differ by five minutes.
        Table("used_assertion", "expires_on > now() - interval '5 minutes' AND $1::uuid IS NOT NULL"),
    ]
    /// Tables whose rows are not copied, because they belong to one database or to running work in it.
    private static let left: Set = ["migration", "key_change", "token_exchange", "sweep", "organization_move", "audit_sealing"]
    /// What happens to rows that both databases have. A token or an assertion is refused until the later of the two times, even if
    /// SQL wrote an earlier time in the target.
    private static let shared = [
        "signing_key": " ON CONFLICT DO NOTHING",
        "exposed_token": """
         ON CONFLICT (token_hash) DO UPDATE
        SET expires_on = greatest(t.expires_on, excluded.expires_on), is_revoked = t.is_revoked OR excluded.is_revoked
        """,
        "used_assertion":
            " ON CONFLICT (assertion_hash) DO UPDATE SET expires_on = greatest(t.expires_on, excluded.expires_on)",
    ]

    /// Each table's rows as JSON.
    static func read(_ tables: [Table], of organization: Organization, on connection: isolated PostgresConnection) throws
        -> [String]
    {
        try tables.map { table in
            try connection.query(
                "SELECT coalesce(json_agg(t), '[]')::text FROM (SELECT * FROM config.\(table.name) WHERE \(table.condition)) AS t",
                [.uuid(organization.id)])[0].decode(0)
        }
    }

    static func insert(_ rows: [String], _ tables: [Table], on connection: isolated PostgresConnection) throws {
        for (table, json) in zip(tables, rows) {
            var source = "json_populate_recordset(NULL::config.\(table.name), $1::text::json)"
            if table.name == "signing_key" {
                // The source's signing key signs nothing in the target, so this key is stored as already replaced.
                source =
                    "(SELECT signing_key_id, public_key, private_key, kek_id, created_on, coalesce(retired_on, now()) FROM \(source)) AS k"
            }
            _ = try connection.query(
                "INSERT INTO config.\(table.name) AS t SELECT * FROM \(source) \(shared[table.name] ?? "")", [.text(json)])
        }
    }

    /// Throws if `config` has an unknown table, because its rows would be left behind.
    static func requireComplete(on connection: isolated PostgresConnection) throws {
        let known = Set((first + rest).map(\.name)).union(left)
        let names = try connection.query(
            """
            SELECT DISTINCT c.relname::text FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
             WHERE k.contype = 'f' AND c.relnamespace = 'config'::regnamespace AND k.confrelid IN (
                   'config.organization'::regclass, 'config.api_client'::regclass, 'config.console_user'::regclass,
                   'config.oidc_issuer'::regclass)
            """
        ).map { try $0.decode(0, as: String.self) }
        guard let unknown = names.sorted().first(where: { !known.contains($0) }) else { return }
        throw OrganizationMove.refusal(
            "This program does not know the table config.\(unknown), and would leave its rows behind. Nothing was changed.")
    }
}
