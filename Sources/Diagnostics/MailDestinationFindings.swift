import Foundation
import JSON
import PostgresClient
import Records
import Tenancy

/// What the doctor finds of profiles and mailboxes whose settings were changed past the service.
enum MailDestinationFindings {
    /// Records that a finding names; the rest is a number.
    private static let named = 20

    /// - Returns: One finding for each record, and one for those beyond ``named``.
    static func findings(of organization: Organization, in deployment: Deployment) async throws -> [Finding] {
        let foreign: [(destination: MailDestination, tag: [UInt8]?)]
        do {
            foreign = try await deployment.pool.withConnection { connection in
                let all = try MailDestination.all(in: organization, on: connection)
                let state = try OrganizationState.read(organization.name, in: deployment, isInspection: true, on: connection)
                return try all.filter { destination, tag in
                    try !destination.isAuthorized(by: tag, state.grants, in: organization, under: deployment.kek)
                }
            }
        } catch let error as PostgresError where ["42P01", "3F000"].contains(error.sqlState) {
            // A schema that is gone, or older than the tags, is a finding of its own.
            return []
        }
        var findings = foreign.prefix(named).map { destination, _ in
            finding(
                organization,
                "the settings of \(destination.place.entity) \(destination.place.id.text) that say where credentials go were changed "
                    + "past the service: no credential is released under them")
        }
        if foreign.count > named {
            findings.append(
                finding(organization, "\(foreign.count - named) more profiles and mailboxes were changed past the service"))
        }
        return findings
    }

    private static func finding(_ organization: Organization, _ message: String) -> Finding {
        Finding(
            .error, "mail-settings-not-authorized", organization.name, message,
            advice: "check the servers that it names, and let a System Administrator save all of them (docs/router.md)")
    }
}
