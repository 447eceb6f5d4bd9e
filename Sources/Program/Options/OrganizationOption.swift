import ArgumentParser
import CellCrypto
import Foundation
import Glibc
import JSON
import Logging
import Model
import Organizations
import PostgresClient
import Tenancy

/// The organization of a command.
struct OrganizationOption: ParsableArguments {
    @Option(
        name: [.customLong("org")], help: ArgumentHelp("The organization. Not needed if there is only one.", valueName: "name"))
    var name: String?

    /// A session in the organization, in the database that has it.
    func session(_ options: CommandOptions, isInspection: Bool = false) async throws -> Session {
        try await session(options.deployment(of: name).0, isInspection: isInspection)
    }

    /// A session of the command line's user in the organization.
    ///
    /// - Parameter isInspection: Whether the command only reads, and so works even if the organization's state does not verify.
    /// - Throws: ``CommandFailure`` that lists the organizations if this one does not exist.
    func session(_ deployment: Deployment, isInspection: Bool = false) async throws -> Session {
        let name = try await resolved(deployment)
        do {
            return try await Session.begin(
                deployment, organization: name, caller: commandLineCaller, isInspection: isInspection)
        } catch let error as FieldsealError where error.code == .noResource {
            let names = try await OrganizationEntry.list(deployment).map(\.organization.name)
            // The organization is registered, but its schema is missing.
            guard !names.contains(name) else { throw FieldsealError.lostSchema(of: name) }
            throw CommandFailure(
                "There is no organization \(name)"
                    + (names.isEmpty ? " yet: fieldseal org create NAME." : "; there are: \(CommandOptions.listed(names))."))
        }
    }

    /// The named organization, or the only one.
    func resolved(_ deployment: Deployment) async throws -> String {
        if let name { return name }
        let organizations = try await OrganizationEntry.list(deployment).map(\.organization.name)
        guard let only = organizations.first, organizations.count == 1 else {
            guard !organizations.isEmpty else { throw CommandFailure("There is no organization yet: fieldseal org create NAME.") }
            // A `ValidationError` would print the usage text, which does not list the organizations.
            FileHandle.standardError.write(Data("Error: Name one with --org: \(CommandOptions.listed(organizations)).\n".utf8))
            throw ExitCode.validationFailure
        }
        return only
    }

}
