import Foundation
import JSON
import Model
import PostgresClient
import Records
import Tenancy

/// Findings about profiles, mailboxes, queues and users whose settings SQL changed.
enum MailDestinationFindings {
    /// How many records get a separate finding. One more finding gives the number of the other records.
    private static let named = 20

    /// - Returns: One finding for each of the first ``named`` records, and one that counts the rest.
    static func findings(of organization: Organization, in deployment: Deployment) async throws -> [Finding] {
        var foreign: [MailDestination.Place] = []
        var count = 0
        do {
            for entity in MailDestination.entities {
                var last: UUID?
                repeat {
                    let part = try await part(entity, after: last, organization, deployment)
                    count += part.foreign.count
                    foreign += part.foreign.prefix(named - foreign.count)
                    last = part.last
                } while last != nil
            }
        } catch let error as PostgresError where [.undefinedTable, .undefinedSchema].contains(error.state) {
            // Another finding reports a schema that is missing, or too old to have these tags.
            return []
        }
        var findings = foreign.map { place in
            finding(
                organization,
                "the settings of \(place.entity) \(place.id.text) that say where credentials go were changed "
                    + "by SQL, and not by the service: no credential is released under them")
        }
        if count > named {
            findings.append(
                finding(
                    organization,
                    "\(count - named) more profiles, mailboxes, queues and users have such settings that were changed by SQL"))
        }
        return findings
    }

    /// Reads a part of the records in one snapshot. So a check needs little memory and holds no connection for long.
    ///
    /// - Returns: The records whose settings are not authorized, and the last record that was checked; nil after the last part.
    private static func part(
        _ entity: EntityDefinition, after last: UUID?, _ organization: Organization, _ deployment: Deployment
    ) async throws -> (foreign: [MailDestination.Place], last: UUID?) {
        try await deployment.pool.withConnection { connection in
            try connection.transaction(isolation: .repeatableRead) {
                let state = try OrganizationState.read(organization.name, in: deployment, isInspection: true, on: connection)
                let records = try MailDestination.part(of: entity, after: last, in: organization, on: connection)
                let foreign = try records.filter { destination, tag in
                    try !destination.isAuthorized(by: tag, state.grants, in: organization, under: deployment.kek)
                }
                return (foreign.map(\.destination.place), records.last?.destination.place.id)
            }
        }
    }

    private static func finding(_ organization: Organization, _ message: String) -> Finding {
        Finding(
            .error, "mail-settings-not-authorized", organization.name, message,
            advice: "check the servers in these settings, and let a System Administrator save all of the settings (docs/router.md)")
    }
}
