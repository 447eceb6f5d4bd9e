import Foundation
import JSON
import Model
import PostgresClient
import Records
import Tenancy

/// What the doctor finds of profiles and mailboxes whose settings were changed past the service.
enum MailDestinationFindings {
    /// Records that a finding names; the rest is a number.
    private static let named = 20

    /// - Returns: One finding for each record, and one for those beyond ``named``.
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
        } catch let error as PostgresError where ["42P01", "3F000"].contains(error.sqlState) {
            // A schema that is gone, or older than the tags, is a finding of its own.
            return []
        }
        var findings = foreign.map { place in
            finding(
                organization,
                "the settings of \(place.entity) \(place.id.text) that say where credentials go were changed "
                    + "past the service: no credential is released under them")
        }
        if count > named {
            findings.append(
                finding(organization, "\(count - named) more profiles, mailboxes, queues and users were changed past the service"))
        }
        return findings
    }

    /// Some records in one snapshot, so that a check holds little memory, and no connection for long.
    ///
    /// - Returns: Those whose settings are not authorized, and the last one that was looked at; nil where that was the last of all.
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
            advice: "check the servers that it names, and let a System Administrator save all of them (docs/router.md)")
    }
}
