import CellCrypto
import Foundation
import Migrations
import Organizations
package import PostgresClient
package import Tenancy
package import TestSupport

/// A migrated database with one organization in it.
package struct TestOrganization: Sendable {
    package let database: TestDatabase
    package let deployment: Deployment
    package let organization: Organization

    package static let caller = Caller.commandLine(user: "test")

    package static func with(_ body: @Sendable (TestOrganization) async throws -> Void) async throws {
        try await TestDatabase.with(migrated: true) { database in
            let kek = try KeyEncryptionKey(SecretBytes.random(count: KeyEncryptionKey.length))
            // Few iterations keep the tests fast. The tests are not about how hard a key is to guess.
            var policy = KeyPolicy()
            policy.iterations = 1_000
            let conninfo = database.conninfo(user: "fieldseal_service")
            let pool = ConnectionPool(.init(conninfo: conninfo, limit: 8))
            let organization = try await OrganizationRegistry(conninfo: database.conninfo, kek: kek, policy: policy)
                .create(name: "contoso", by: caller)
            let deployment = Deployment(conninfo: conninfo, pool: pool, kek: kek, policy: policy)
            do {
                try await body(TestOrganization(database: database, deployment: deployment, organization: organization))
            } catch {
                await pool.close()
                throw error
            }
            await pool.close()
        }
    }

    package func session() async throws -> Session {
        try await Session.begin(deployment, organization: organization.name, caller: Self.caller)
    }

    /// Runs SQL as the superuser, with the organization's schema first on the search path.
    package func sql<Value: PostgresDecodable & Sendable>(_ sql: String, as type: Value.Type = Value.self) async throws -> [Value] {
        let connection = try await PostgresConnection.connect(database.conninfo)
        let schema = organization.schema
        return try await connection.run { connection in
            try connection.execute("SET search_path = \(schema), public")
            return try connection.query(sql).map { try $0.decode(0, as: Value.self) }
        }
    }

    package func execute(_ sql: String, role: String? = nil) async throws {
        let connection = try await PostgresConnection.connect(database.conninfo)
        let schema = organization.schema
        try await connection.run { connection in
            try connection.execute("SET search_path = \(schema), public")
            if let role { try connection.execute("SET ROLE \(role)") }
            try connection.execute(sql)
        }
    }

    package func columns(of table: String) async throws -> [String: String] {
        let rows = try await sql(
            "SELECT column_name || '=' || data_type FROM information_schema.columns WHERE table_schema = '\(organization.schema)' AND table_name = '\(table)'",
            as: String.self)
        return Dictionary(
            uniqueKeysWithValues: rows.map { row in
                let parts = row.split(separator: "=")
                return (String(parts[0]), String(parts[1]))
            })
    }
}

extension TestOrganization {
    /// Makes a new `config` from its migrations, as `fieldseal migrate up` does after `config` was lost.
    package func reapplyConfig() async throws {
        try await execute("DROP SCHEMA config CASCADE")
        for outcome in try await MigrationRunner(conninfo: database.conninfo).up() { if let error = outcome.error { throw error } }
    }
}
