import Foundation
import Model
import PostgresClient
package import Tenancy

// Suspension of organizations. The attested list decides, so SQL can neither suspend an organization nor resume it.
extension OrganizationRegistry {
    /// Suspends an organization. Every server refuses the requests of its clients, people and routers from now on.
    ///
    /// - Returns: False if it was suspended already.
    /// - Throws: ``FieldsealError`` when there is no such organization, or its attested state does not verify.
    package func suspend(name: String, by caller: Caller) async throws -> Bool {
        try await asOwner(lockLimit: Self.lockLimit) { connection in
            try suspend(registered(name, on: connection), .organizationSuspended, by: caller, on: connection)
        }
    }

    /// Suspends an organization in the open transaction.
    @discardableResult
    func suspend(
        _ organization: Organization, _ event: SecurityEvent.Kind, by caller: Caller, on connection: isolated PostgresConnection
    ) throws -> Bool {
        try AttestedState.change(of: organization, under: kek, on: connection) { change in
            let wasSuspended = try change.grants.names(Grant.suspension.name)
            try markSuspended(organization, by: caller, on: connection)
            if !wasSuspended { _ = try change.grant(Grant.suspension) }
            if !wasSuspended || event != .organizationSuspended {
                try change.append(SecurityEvent(event, .succeeded), by: caller, on: connection)
            }
            return !wasSuspended
        }
    }

    /// Marks an organization as suspended in `config.organization`.
    func markSuspended(
        _ organization: Organization, by caller: Caller, on connection: isolated PostgresConnection
    ) throws {
        _ = try connection.query(
            """
            UPDATE config.organization SET suspended_on = now(), suspended_by = $2
             WHERE organization_id = $1 AND suspended_on IS NULL
            """, [.uuid(organization.id), .text(caller.actor)])
    }

    /// Resumes an organization that was suspended, or whose removal began.
    ///
    /// - Returns: False if it was not suspended.
    /// - Throws: ``FieldsealError`` when there is no such organization, or its attested state does not verify.
    package func resume(name: String, by caller: Caller) async throws -> Bool {
        try await asOwner(lockLimit: Self.lockLimit) { connection in
            let organization = try registered(name, on: connection)
            return try AttestedState.change(of: organization, under: kek, on: connection) { change in
                let wasSuspended = try change.grants.names(Grant.suspension.name)
                _ = try connection.query(
                    """
                    UPDATE config.organization SET suspended_on = NULL, suspended_by = NULL, removal_begun_on = NULL
                     WHERE organization_id = $1
                    """, [.uuid(organization.id)])
                guard wasSuspended else { return false }
                try change.remove(Grant.suspension.name)
                try change.append(SecurityEvent(.organizationResumed, .succeeded), by: caller, on: connection)
                return true
            }
        }
    }

    /// Whether `config.organization` says that an organization is suspended.
    func isMarkedSuspended(_ organization: Organization, on connection: isolated PostgresConnection) throws -> Bool {
        try connection.query(
            "SELECT suspended_on IS NOT NULL FROM config.organization WHERE organization_id = $1", [.uuid(organization.id)]
        ).first?.decode(0) ?? false
    }
}
