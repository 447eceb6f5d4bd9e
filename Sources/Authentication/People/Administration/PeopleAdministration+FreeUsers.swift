package import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

// Systemusers without a sign-in. A new person can get one of these systemusers.
extension PeopleAdministration {
    /// A systemuser without a sign-in.
    package struct FreeUser: Sendable {
        package let id: UUID
        package let name: String
        /// Distinguishes the systemuser from others with the same name: the e-mail address or the domain name; empty if it has
        /// neither.
        package let detail: String
    }

    /// The SQL condition for a systemuser `s` that a person can get: it is not disabled, it belongs to no program, and no person or
    /// client acts as it.
    private static func isFree(in organization: Organization) -> String {
        """
        NOT coalesce(s.isdisabled, false) AND s.applicationid IS NULL AND s.fullname IS NOT NULL
        AND NOT EXISTS (SELECT FROM config.console_user AS u WHERE u.organization_id = $1 AND u.systemuser_id = s.systemuserid)
        AND NOT EXISTS (SELECT FROM config.api_client AS c WHERE c.organization_id = $1 AND c.systemuser_id = s.systemuserid)
        """
    }

    /// The systemusers without a sign-in, by name.
    ///
    /// - Parameters:
    ///   - name: Only systemusers with this name, in any case.
    ///   - id: Only the systemuser with this id.
    package func free(named name: String? = nil, id: UUID? = nil, limit: Int) async throws -> [FreeUser] {
        try await deployment.pool.withConnection { connection in
            let rows = try connection.query(
                """
                SELECT s.systemuserid, s.fullname, coalesce(nullif(s.internalemailaddress, ''), s.domainname, '')
                  FROM \(organization.qualified("systemuser")) AS s WHERE \(Self.isFree(in: organization))
                   AND ($2::text IS NULL OR lower(s.fullname) = lower($2)) AND ($3::uuid IS NULL OR s.systemuserid = $3)
                 ORDER BY lower(s.fullname), s.systemuserid LIMIT $4
                """, [.uuid(organization.id), .text(name), .uuid(id), .int64(Int64(limit))])
            return try rows.compactMap { row in
                let id: UUID = try row.decode(0)
                guard try !session.state.isDisabled(systemUser: id) else { return nil }
                return FreeUser(id: id, name: try row.decode(1), detail: try row.decode(2))
            }
        }
    }

    /// Locks a systemuser. Throws if the systemuser is disabled, or if a program or a person signs in as it already.
    static func requireFree(
        _ id: UUID, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws {
        let organization = change.organization
        let rows = try connection.query(
            """
            SELECT \(isFree(in: organization)) FROM \(organization.qualified("systemuser")) AS s WHERE s.systemuserid = $2
               FOR NO KEY UPDATE OF s
            """, [.uuid(organization.id), .uuid(id)])
        guard let row = rows.first else { throw FieldsealError.noSuchRecord(.systemUser, id.text) }
        guard try row.decode(0, as: Bool.self), try !change.grants.names(Grant.disabledSystemUser(id).name) else {
            throw FieldsealError(
                .invalidArgument,
                "This user can't be given a sign-in: it is disabled, or a person or a program signs in as it already.")
        }
    }
}
