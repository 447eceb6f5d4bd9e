import Organizations
import PostgresClient
import Tenancy

/// Prevents two databases from giving the same name to organizations at the same time.
///
/// All databases must be reachable, because otherwise it is unknown which names are in use. The lock belongs to a session in each
/// database, so it ends with the command.
struct NameReservation {
    private let connections: [PostgresConnection]

    /// How long to wait for another command that reserves the name.
    private static let patience = "60s"

    /// Runs a closure that gives an organization a name.
    ///
    /// - Throws: ``CommandFailure`` when another database has the name, or is unreachable.
    static func with<Result: Sendable>(
        _ name: String, _ settings: Settings, in database: String, _ body: () async throws -> Result
    ) async throws -> Result {
        // A single database needs no reservation, because it refuses a name that one of its organizations has.
        guard settings.allDatabases.count > 1 else { return try await body() }
        let reservation = try await NameReservation(name, settings, in: database)
        do {
            let result = try await body()
            await reservation.end()
            return result
        } catch {
            await reservation.end()
            throw error
        }
    }

    /// - Parameter settings: All settings, with no database selected.
    private init(_ name: String, _ settings: Settings, in database: String) async throws {
        var connections: [PostgresConnection] = []
        var asked = ""
        do {
            // The order of names is fixed, so that two commands can't deadlock.
            for one in settings.allDatabases {
                asked = one.name
                let connection = try await PostgresConnection.connect(one.conninfo, applicationName: "fieldseal command")
                connections.append(connection)
                guard try await connection.run({ try Self.lock(name, on: $0) }) || one.name == database else {
                    throw CommandFailure(
                        "The name \(name) is taken: the database \(one.name) has it, or one that differs by - and _ only. Choose another one."
                    )
                }
            }
        } catch {
            for connection in connections { await connection.close() }
            guard let failure = error as? PostgresError, failure.isConnectionLoss else { throw error }
            throw CommandFailure(
                "Whether the name \(name) is free can't be told while the database \(asked) can't be reached: \(failure). "
                    + "Nothing was changed.")
        }
        self.connections = connections
    }

    /// - Returns: True if no organization in the database has the name.
    private static func lock(_ name: String, on connection: isolated PostgresConnection) throws -> Bool {
        try connection.execute("SET lock_timeout = '\(patience)'")
        let schema = Organization.schema(of: name)
        _ = try connection.query("SELECT pg_advisory_lock(hashtextextended('fieldseal name ' || $1, 0))", [.text(schema)])
        let rows = try connection.query(
            "SELECT NOT EXISTS (SELECT FROM config.organization WHERE schema_name = $1)", [.text(schema)])
        return try rows[0].decode(0)
    }

    private func end() async { for connection in connections { await connection.close() } }
}

extension CommandOptions {
    /// Runs a closure that gives an organization a name, in the named database or in the one with the most room.
    func naming<Result: Sendable>(
        _ name: String, _ body: (Deployment, Settings, _ database: String) async throws -> Result
    ) async throws -> Result {
        let settings = try await Settings.read(settings)
        var placed = self
        if placed.database == nil { placed.database = try await Self.roomiest(settings) }
        let (deployment, selected) = try await placed.deployment()
        let database = placed.database ?? ""
        return try await NameReservation.with(name, settings, in: database) { try await body(deployment, selected, database) }
    }

    /// The database with the most room. PostgreSQL does not know the free disk space, so the database with the fewest bytes is
    /// chosen.
    private static func roomiest(_ settings: Settings) async throws -> String {
        var smallest: (name: String, bytes: Int)?
        let databases = settings.allDatabases
        guard databases.count > 1 else { return databases[0].name }
        for database in databases {
            guard let connection = try? await PostgresConnection.connect(database.conninfo, applicationName: "fieldseal command")
            else { continue }
            let bytes: Int? = try? await connection.run {
                try $0.query("SELECT pg_database_size(current_database())")[0].decode(0)
            }
            await connection.close()
            if let bytes, smallest.map({ bytes < $0.bytes }) ?? true { smallest = (database.name, bytes) }
        }
        guard let smallest else { throw CommandFailure("None of the databases can be reached. Nothing was changed.") }
        return smallest.name
    }
}
