import ArgumentParser
import Foundation
import JSON
import Model
import Organizations
import PostgresClient
import Tenancy

// Commands on a deployment of several databases.
extension CommandOptions {
    /// The settings of the named database, or of the only one.
    func readSettings() async throws -> Settings { try await Settings.read(settings).selecting(database) }

    /// The deployment's database that has an organization.
    func deployment(of organization: String?) async throws -> (Deployment, Settings) {
        try await located(organization).deployment()
    }

    /// These options, with the database selected that has an organization.
    ///
    /// - Parameter organization: The organization's name; nil if the command names none, which is allowed if there is only one
    ///   organization.
    /// - Throws: ``CommandFailure`` when no reachable database has the organization, or several databases have it.
    func located(_ organization: String?) async throws -> CommandOptions {
        let settings = try await Settings.read(settings)
        guard database == nil, settings.allDatabases.count > 1 else { return self }
        let places = await DatabaseLists(settings)
        var located = self
        located.database = try organization.map { try places.database(of: $0) } ?? places.databaseOfOnly()
        return located
    }

    /// Runs a command in the database of the organization. Without an organization, the command runs in the named database, or in
    /// all databases.
    ///
    /// Several databases are processed at the same time, and each failure is reported separately.
    ///
    /// - Throws: `ExitCode`: the highest exit code of all databases.
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
            for (_, reports, _) in ended { reports.show(json: json) }
            return ended.map(\.2)
        }
        if let worst = codes.max(), worst > 0 { throw ExitCode(worst) }
    }

    /// The registry of the database that has an organization, with the role for migrations.
    func registry(of organization: String) async throws -> OrganizationRegistry {
        let (deployment, settings) = try await self.deployment(of: organization)
        return OrganizationRegistry(conninfo: settings.migrationDatabase, kek: deployment.kek, policy: deployment.policy)
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
