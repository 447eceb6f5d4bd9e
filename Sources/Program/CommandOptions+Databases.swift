import ArgumentParser
import Foundation
import JSON
import Model
import Organizations
import PostgresClient
import Synchronization
import Tenancy

/// The output of a command for one of several databases. It is printed when the work there ends, so that lines don't mix.
final class DatabaseReports: Sendable {
    @TaskLocal static var current: DatabaseReports?

    private let database: String
    private let lines = Mutex<[(json: JSONValue, text: String)]>([])

    init(_ database: String) { self.database = database }

    func add(_ json: JSONValue, _ text: String) { lines.withLock { $0.append((json, text)) } }

    /// Prints the output: JSON with the database's name, one value a line; or text under its name.
    func print(json: Bool) {
        let lines = lines.withLock(\.self)
        if !json { Swift.print("Database \(database):") }
        for line in lines {
            guard json else {
                Swift.print(line.text)
                continue
            }
            let name = JSONValue.Member("database", .string(database))
            let value: JSONValue =
                if case .object(let members) = line.json { .object([name] + members) } else {
                    .object([name, .init("report", line.json)])
                }
            Swift.print(String(decoding: value.utf8, as: UTF8.self))
        }
        fflush(nil)
    }
}

// Commands on a deployment of several databases.
extension CommandOptions {
    /// The settings of the named database, or of the only one.
    func readSettings() async throws -> Settings { try await Settings.read(settings).selecting(database) }

    /// The deployment's database that has an organization.
    func deployment(of organization: String?) async throws -> (Deployment, Settings) {
        try await located(organization).deployment()
    }

    /// The same options for the database that has an organization.
    ///
    /// - Parameter organization: Its name; nil if it may be omitted because there is one.
    /// - Throws: ``CommandFailure`` when no reachable database has it, or several have.
    func located(_ organization: String?) async throws -> CommandOptions {
        let settings = try await Settings.read(settings)
        guard database == nil, settings.allDatabases.count > 1 else { return self }
        let places = await DatabaseLists(settings)
        var located = self
        located.database = try organization.map { try places.database(of: $0) } ?? places.databaseOfOnly()
        return located
    }

    /// Runs a command in the database of the organization. Without one, it runs in the named database, or in all of them.
    ///
    /// Several databases are processed at the same time, and each failure is reported by itself.
    ///
    /// - Throws: `ExitCode`: the highest of the databases.
    func inDatabases(
        of organization: String? = nil, _ body: @escaping @Sendable (CommandOptions) async throws -> Void
    ) async throws {
        let databases = try await Settings.read(settings).allDatabases
        guard organization == nil, database == nil, databases.count > 1 else {
            let options = try await located(organization)
            return try await options.reachingDatabase { try await body(options) }
        }
        let codes = await withTaskGroup(of: (Int, DatabaseReports, Int32).self) { group in
            for (place, one) in databases.enumerated() {
                var options = self
                options.database = one.name
                let (chosen, reports) = (options, DatabaseReports(one.name))
                group.addTask { (place, reports, await chosen.exitCode(reports, body)) }
            }
            let ended = await group.reduce(into: [(Int, DatabaseReports, Int32)]()) { $0.append($1) }.sorted { $0.0 < $1.0 }
            for (_, reports, _) in ended { reports.print(json: json) }
            return ended.map(\.2)
        }
        if let worst = codes.max(), worst > 0 { throw ExitCode(worst) }
    }

    /// Runs the command in one of several databases.
    private func exitCode(
        _ reports: DatabaseReports, _ body: @Sendable (CommandOptions) async throws -> Void
    ) async -> Int32 {
        await DatabaseReports.$current.withValue(reports) {
            do {
                try await reachingDatabase { try await body(self) }
                return 0
            } catch let code as ExitCode {
                return code.rawValue
            } catch {
                let words = (error as? FieldsealError)?.message ?? "\(error)"
                reports.add(["error": .string(words)], "Error: \(words)")
                return ExitCode.failure.rawValue
            }
        }
    }
}

/// The organizations of each reachable database of a deployment.
struct DatabaseLists: Sendable {
    private(set) var lists: [String: OrganizationPlaces.List] = [:]
    /// The reasons for which databases did not respond.
    private(set) var failures: [String: any Error] = [:]

    init(_ settings: Settings) async {
        let answers = await withTaskGroup(of: (String, Result<OrganizationPlaces.List, any Error>).self) { group in
            for database in settings.allDatabases {
                group.addTask { (database.name, await Self.list(database.conninfo)) }
            }
            return await group.reduce(into: [(String, Result<OrganizationPlaces.List, any Error>)]()) { $0.append($1) }
        }
        for (name, answer) in answers {
            switch answer {
            case .success(let list): lists[name] = list
            case .failure(let error): failures[name] = error
            }
        }
    }

    private static func list(_ conninfo: String) async -> Result<OrganizationPlaces.List, any Error> {
        let pool = ConnectionPool(.init(conninfo: conninfo, limit: 1, applicationName: "fieldseal command"))
        let answer: Result<OrganizationPlaces.List, any Error>
        do {
            answer = .success(
                try await pool.withConnection { connection in
                    let rows = try connection.query(
                        "SELECT name, created_on FROM config.organization AS o WHERE \(OrganizationEntry.inForce)")
                    return try Dictionary(uniqueKeysWithValues: rows.map { (try $0.decode(0), try $0.decode(1, as: Date.self)) })
                })
        } catch let error as PostgresError where [.undefinedTable, .undefinedSchema, .insufficientPrivilege].contains(error.state) {
            // It is not migrated yet, and has no organization.
            answer = .success([:])
        } catch {
            answer = .failure(error)
        }
        await pool.close()
        return answer
    }

    /// Names of several databases, each with the organizations that are also in another one.
    var duplicates: [String: [String]] {
        let all = lists.flatMap { database, list in list.keys.map { ($0, database) } }
        return Dictionary(grouping: all, by: \.0).mapValues { $0.map(\.1).sorted() }.filter { $0.value.count > 1 }
    }

    func database(of organization: String) throws -> String {
        let found = lists.filter { $0.value[organization] != nil }.keys.sorted()
        guard found.count < 2 else {
            throw CommandFailure(
                "The organization \(organization) is in the databases \(found.joined(separator: ", ")). Name one with --database; "
                    + "servers use the one that had it first.")
        }
        guard let only = found.first else {
            throw CommandFailure("There is no organization \(organization). \(remainder)")
        }
        return only
    }

    func databaseOfOnly() throws -> String {
        let all = lists.flatMap { database, list in list.keys.map { (database, $0) } }
        guard all.count < 2 else {
            throw ValidationError("Name one with --org: \(CommandOptions.listed(all.map(\.1).sorted())).")
        }
        guard let only = all.first, failures.isEmpty else { throw CommandFailure("Name an organization with --org. \(remainder)") }
        return only.0
    }

    /// The end of a message about an organization that was not found.
    private var remainder: String {
        let names = lists.values.flatMap(\.keys).sorted()
        let known = names.isEmpty ? "There is none yet: fieldseal org create NAME." : "There are: \(CommandOptions.listed(names))."
        return known
            + failures.sorted { $0.key < $1.key }.map { " The database \($0.key) can't be reached: \($0.value)." }.joined()
    }
}
