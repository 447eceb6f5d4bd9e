import Foundation
import Migrations
import PostgresClient

/// A separate database for a test, in the PostgreSQL that `Tests/run` started.
public final class TestDatabase: Sendable {
    public let name: String
    private static let server = ProcessInfo.processInfo.environment["FIELDSEAL_TEST_POSTGRES"] ?? ""

    /// Connects to the database as its superuser.
    public var conninfo: String { conninfo(user: "postgres") }

    public func conninfo(user: String) -> String {
        "\(Self.server) dbname=\(name) user=\(user)".replacing("user=postgres dbname", with: "dbname")
    }

    /// Makes a database for `body`, and drops it afterwards.
    public static func with<Result: Sendable>(
        migrated: Bool = false,
        _ body: @Sendable (TestDatabase) async throws -> Result
    ) async throws -> Result {
        let database = TestDatabase("test_\(UUID().uuidString.lowercased().replacing("-", with: ""))")
        try await administer("CREATE DATABASE \(database.name)")
        let result: Swift.Result<Result, any Error>
        do {
            if migrated {
                try await serialized.run { try await MigrationRunner(conninfo: database.conninfo).bootstrap() }
                for outcome in try await MigrationRunner(conninfo: database.conninfo).up() {
                    if let error = outcome.error { throw error }
                }
            }
            result = .success(try await body(database))
        } catch {
            result = .failure(error)
        }
        try await administer("DROP DATABASE \(database.name) WITH (FORCE)")
        return try result.get()
    }

    private init(_ name: String) { self.name = name }

    private static func administer(_ sql: String) async throws {
        guard !server.isEmpty else { throw NoServer() }
        let connection = try await PostgresConnection.connect("\(server) dbname=postgres")
        try await connection.execute(sql)
        await connection.close()
    }

    struct NoServer: Error, CustomStringConvertible {
        var description: String { "FIELDSEAL_TEST_POSTGRES is not set: run the tests with `make test`" }
    }

    /// Roles belong to the whole PostgreSQL server, so two tests must not make them at the same time.
    private static let serialized = Serializer()
}

private actor Serializer {
    private var last: Task<Void, any Error>?

    func run(_ body: @escaping @Sendable () async throws -> Void) async throws {
        let before = last
        let task = Task {
            _ = await before?.result
            try await body()
        }
        last = task
        try await task.value
    }
}
