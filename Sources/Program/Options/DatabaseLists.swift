import ArgumentParser
import Foundation
import JSON
import Model
import Organizations
import PostgresClient
import Tenancy

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
                    try OrganizationPlaces.list(
                        connection.query("SELECT name, created_on FROM config.organization AS o WHERE \(OrganizationEntry.inForce)")
                    )
                })
        } catch let error as PostgresError where [.undefinedTable, .undefinedSchema, .insufficientPrivilege].contains(error.state) {
            // The database is not migrated yet, so it has no organization.
            answer = .success([:])
        } catch {
            answer = .failure(error)
        }
        await pool.close()
        return answer
    }

    /// The organizations that are in several databases, each with the names of these databases.
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
        let known =
            names.isEmpty
            ? "There is no organization yet: fieldseal org create NAME." : "There are: \(CommandOptions.listed(names))."
        return known
            + failures.sorted { $0.key < $1.key }.map { " The database \($0.key) can't be reached: \($0.value)." }.joined()
    }
}
