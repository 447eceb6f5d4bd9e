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

/// The organizations of a command that works on all of them by default.
struct OrganizationsOption: ParsableArguments {
    @Option(
        name: [.customLong("org")],
        help: ArgumentHelp("Only this organization. Without --org: all organizations.", valueName: "name"))
    var name: String?

    /// The option for an operation that needs exactly one organization.
    var one: OrganizationOption {
        var option = OrganizationOption()
        option.name = name
        return option
    }

    /// A session in one of the organizations. The errors of this function name the organization.
    func session(of name: String, _ deployment: Deployment, isInspection: Bool) async throws -> Session {
        var option = OrganizationOption()
        option.name = name
        return try await option.session(deployment, isInspection: isInspection)
    }
}
