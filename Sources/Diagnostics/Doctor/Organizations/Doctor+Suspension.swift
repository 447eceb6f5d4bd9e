import Foundation
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports organizations that are suspended on purpose, and removals that are not finished.
    ///
    /// - Parameter id: The organization to check; nil for all.
    func notServed(_ id: UUID?, on connection: isolated PostgresConnection) throws -> [Finding] {
        // If the column is missing, the deployment is not migrated yet, which another finding reports.
        let isKnown = try connection.query(
            """
            SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('config.organization')
                AND attname = 'removal_begun_on' AND NOT attisdropped)
            """)[0].decode(0, as: Bool.self)
        guard isKnown else { return [] }
        return try connection.query(
            """
            SELECT name, to_char(coalesce(removal_begun_on, suspended_on) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
                   removal_begun_on IS NOT NULL, suspended_by
              FROM config.organization WHERE suspended_on IS NOT NULL AND ($1::uuid IS NULL OR organization_id = $1) ORDER BY name
            """, [.uuid(id)]
        ).map { row in
            let (name, since): (String, String) = (try row.decode(0), try row.decode(1))
            if try row.decode(2, as: Bool.self) {
                return Finding(
                    .warning, "removal-unfinished", name,
                    "the removal of the organization began on \(since) UTC and was interrupted. Its requests are refused",
                    advice: "finish the removal: fieldseal org remove \(name); or undo it: fieldseal org resume \(name)")
            }
            return Finding(
                .notice, "organization-suspended", name,
                "the organization has been suspended since \(since) UTC by \(try row.decode(3, as: String.self)): its requests "
                    + "are refused",
                advice: "when the reason for the suspension is gone: fieldseal org resume \(name)")
        }
    }

    /// Reports suspensions that SQL made or undid.
    func suspension(_ state: OrganizationState, on connection: isolated PostgresConnection) throws -> [Finding] {
        let name = state.organization.name
        let row = try connection.query(
            "SELECT suspended_on IS NOT NULL FROM config.organization WHERE organization_id = $1", [.uuid(state.organization.id)])
        guard let isMarked = try row.first?.decode(0, as: Bool.self), try isMarked != state.isSuspended() else { return [] }
        return [
            isMarked
                ? Finding(
                    .error, "suspension-not-made-here", name,
                    "SQL marked the organization as suspended in config.organization. This service did not suspend it, and "
                        + "answers its requests",
                    advice: "find out who wrote the row; then suspend the organization, or clear the mark: fieldseal org suspend, "
                        + "fieldseal org resume")
                : Finding(
                    .error, "suspension-undone", name,
                    "SQL removed the suspension of the organization from config.organization. The organization stays suspended",
                    advice: "find out who did it; then fieldseal org suspend \(name), or fieldseal org resume \(name)")
        ]
    }
}
