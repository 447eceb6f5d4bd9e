import Foundation
import Migrations
import PostgresClient
import TestSupport
import Testing

@Suite("Migrations")
struct MigrationTests {
    @Test("The program contains exactly the SQL files under migrations/")
    func embedded() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../migrations").standardizedFileURL
        let paths = try FileManager.default.subpathsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".sql") }
        #expect(!paths.isEmpty)
        #expect(Set(paths) == Set(MigrationCatalog.files.map(\.path)))
        for (path, sql) in MigrationCatalog.files {
            #expect(try String(contentsOf: folder.appending(path: path), encoding: .utf8) == sql, "\(path)")
        }
        for scope in [Migration.Scope.config, .organization] {
            let numbers = MigrationCatalog.migrations(scope).map { Int($0.name.prefix(4)) }
            #expect(numbers == Array(1...numbers.count))
        }
    }

    @Test("An organization's migrations name no organization's schema, and only one table of config")
    func noSchemaNames() {
        for migration in MigrationCatalog.migrations(.organization) {
            // A trigger notes organizations with new audit entries in this table. If the table is missing, the trigger does
            // nothing.
            let sql = migration.sql.replacing("config.unsealed_audit", with: "")
            #expect(!sql.contains("org_") && !sql.contains("config."), "\(migration.name)")
        }
    }

    @Test("Applying migrations again does nothing, and the ledger has the role and the checksum of each migration")
    func twice() async throws {
        try await TestDatabase.with(migrated: true) { database in
            let runner = MigrationRunner(conninfo: database.conninfo)
            #expect(try await runner.up().flatMap(\.applied).isEmpty)
            let status = try await runner.status()
            #expect(status.map(\.pending) == [[]])
            #expect(status[0].applied.map(\.name) == MigrationCatalog.migrations(.config).map(\.name))
            #expect(status[0].applied.allSatisfy { $0.appliedBy == "postgres" && $0.checksum.count == 64 })
        }
    }

    @Test("Several runners at the same time apply each migration once")
    func atOnce() async throws {
        try await TestDatabase.with(migrated: true) { database in
            try await execute(database, "DROP SCHEMA config CASCADE")
            let applied = try await withThrowingTaskGroup(of: [String].self) { group in
                for _ in 0..<4 { group.addTask { try await MigrationRunner(conninfo: database.conninfo).up().flatMap(\.applied) } }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(applied.sorted() == MigrationCatalog.migrations(.config).map(\.name))
        }
    }

    @Test("A migration that changed after it was applied is refused, and so is a database of a newer version")
    func drift() async throws {
        try await TestDatabase.with(migrated: true) { database in
            let runner = MigrationRunner(conninfo: database.conninfo)
            try await execute(database, "UPDATE config.migration SET checksum = repeat('0', 64) WHERE name = '0002_deployment'")
            let changed = await #expect(throws: MigrationError.self) { try await runner.up() }
            guard case .changedAfterApplied(_, "0002_deployment") = changed else {
                Issue.record("\(String(describing: changed))"); return
            }
            try await execute(database, "DELETE FROM config.migration WHERE name = '0002_deployment'")
            try await execute(
                database,
                "INSERT INTO config.migration (scope, name, checksum, milliseconds) VALUES ('config', '9999_future', '', 0)")
            let newer = await #expect(throws: MigrationError.self) { try await runner.up() }
            guard case .newerDatabase(_, "9999_future") = newer else { Issue.record("\(String(describing: newer))"); return }
        }
    }

    @Test("If the connected role can't act as the owner, the error says what to grant and which file creates the roles")
    func notBootstrapped() async throws {
        try await TestDatabase.with(migrated: true) { database in
            try await execute(database, "CREATE ROLE stranger_\(database.name) LOGIN")
            let error = await #expect(throws: MigrationError.self) {
                try await MigrationRunner(conninfo: database.conninfo(user: "stranger_\(database.name)")).up()
            }
            #expect("\(try #require(error))".contains("GRANT fieldseal_owner"))
            #expect("\(MigrationError.notBootstrapped)".contains("migrations/bootstrap.sql"))
            try await execute(database, "DROP ROLE stranger_\(database.name)")
        }
    }

    @Test("Applying the bootstrap again changes nothing")
    func bootstrapAgain() async throws {
        try await TestDatabase.with(migrated: true) { database in
            let connection = try await PostgresConnection.connect(database.conninfo)
            let before = try await catalog(connection)
            try await connection.run { try $0.execute(MigrationCatalog.bootstrap) }
            #expect(try await catalog(connection) == before)
        }
    }

    private func catalog(_ connection: PostgresConnection) async throws -> [String] {
        try await connection.run { connection in
            try connection.query(
                """
                SELECT evtname || evtfoid::regprocedure::text FROM pg_event_trigger
                UNION ALL SELECT oid::regprocedure::text || prosrc FROM pg_proc WHERE pronamespace = 'cell'::regnamespace ORDER BY 1
                """
            ).map { try $0.decode(0) }
        }
    }
}

func execute(_ database: TestDatabase, _ sql: String) async throws {
    let connection = try await PostgresConnection.connect(database.conninfo)
    try await connection.execute(sql)
    await connection.close()
}
