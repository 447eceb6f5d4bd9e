import CellCrypto
import Foundation
import JSON
package import PostgresClient

/// The names of all rows that exist now and belong in an organization's attested list. If the list has a name that is not among
/// these, SQL deleted the row of that name, and could restore it.
package struct ListedNames {
    private let organization: Organization
    private var digests: Set<GrantList.Digest> = []

    /// Reads the names of all rows in one statement.
    ///
    /// - Parameter other: Kinds of rows that are not read. The caller adds their names itself.
    package init(
        of organization: Organization, except other: Set<Grant.Kind> = [], on connection: isolated PostgresConnection
    ) throws {
        self.organization = organization
        let parts = Self.sources(of: organization).filter { !other.contains($0.kind) }.map { kind, first, second, rows in
            "SELECT '\(kind.rawValue)', \(first), \(second ?? "NULL::bytea") FROM \(rows)"
        }
        for row in try connection.query(parts.joined(separator: "\nUNION ALL "), [.uuid(organization.id)]) {
            guard let kind = Grant.Kind(rawValue: try row.decode(0)) else { continue }
            let fields = try [1, 2].filter { !row.isNull($0) }.map { try row.decode($0, as: PostgresBytes.self).bytes }
            try add(Grant.Name(kind, fields))
        }
        for grant in [Grant.suspension, .rolesWereGiven] { try add(grant.name) }
        for name in [KeyControl.name, Grant.Name(.keyDerivation, [])] { try add(name) }
        for role in Role.allCases { try add(Grant.Name(.secondFactorPolicy, [Grant.field(role.rawValue)])) }
    }

    package mutating func add(_ name: Grant.Name) throws { digests.insert(try name.digest()) }

    /// The list's entries whose rows do not exist. Entries of disabled systemusers are always among them, because their rows are
    /// not read.
    package func missing(in grants: GrantList) throws -> [GrantList.Digest] {
        try grants.entries.keys.filter { try !digests.contains($0) && !grants.isEnd($0) }
    }

    /// How many entries have no row, not counting disabled systemusers that exist. PostgreSQL looks up the systemusers, because
    /// an organization may have many.
    func missingWithoutUsers(in grants: GrantList, on connection: isolated PostgresConnection) throws -> Int {
        let names = try missing(in: grants)
        guard !names.isEmpty else { return 0 }
        let users: Int = try connection.query(
            """
            SELECT count(DISTINCT systemuserid) FROM ONLY \(organization.qualified("systemuser"))
             WHERE encode(substring(sha256($1 || uuid_send(systemuserid)) FOR \(GrantList.Digest.length)), 'hex') = ANY ($2)
            """,
            [
                .bytes(Grant.Name.prefix(.disabledSystemUser, keyLength: MemoryLayout<uuid_t>.size)),
                .texts(names.map { hexadecimal($0.bytes) }),
            ])[0].decode(0)
        return names.count - users
    }

    /// A kind of rows, SQL for the one or two fields of their names, and SQL for the rows of the organization `$1`.
    private typealias Source = (kind: Grant.Kind, first: String, second: String?, rows: String)

    private static func sources(of organization: Organization) -> [Source] {
        func text(_ column: String) -> String { "convert_to(\(column), 'UTF8')" }
        func own(_ table: String) -> String { "config.\(table) AS t WHERE t.organization_id = $1" }
        func of(_ table: String, _ parent: String, by key: String) -> String {
            "config.\(table) AS t JOIN config.\(parent) AS p USING (\(key)) WHERE p.organization_id = $1"
        }
        let records: [Source] = [
            (.userRole, "uuid_send(systemuserid)", "uuid_send(roleid)", organization.qualified("systemuserroles")),
            (.teamRole, "uuid_send(teamid)", "uuid_send(roleid)", organization.qualified("teamroles")),
            (.teamMember, "uuid_send(teamid)", "uuid_send(systemuserid)", organization.qualified("teammembership")),
            (.role, "uuid_send(roleid)", nil, organization.qualified("role")),
            (
                .mailServer, "uuid_send(record_id)", nil,
                "\(organization.qualified("mail_destination")) WHERE entity = 'emailserverprofile'"
            ),
        ]
        return records + [
            (.client, "uuid_send(t.client_id)", nil, own("api_client")),
            (.clientSecret, "uuid_send(t.secret_id)", nil, of("api_client_secret", "api_client", by: "client_id")),
            (.clientKey, "uuid_send(t.key_id)", nil, of("api_client_key", "api_client", by: "client_id")),
            (.user, "uuid_send(t.user_id)", nil, own("console_user")),
            (.invitation, "uuid_send(t.user_id)", nil, own("console_user")),
            (.ownPassword, "uuid_send(t.user_id)", nil, own("console_user")),
            (.recoveryCode, "uuid_send(t.user_id)", "t.hash", of("console_recovery_code", "console_user", by: "user_id")),
            (.session, "t.token_hash", nil, of("console_session", "console_user", by: "user_id")),
            (.issuer, "uuid_send(t.issuer_id)", nil, own("oidc_issuer")),
            (.link, "uuid_send(t.issuer_id)", text("t.subject"), of("oidc_link", "oidc_issuer", by: "issuer_id")),
            (.approval, "uuid_send(t.approval_id)", nil, own("approval")),
            (.organizationKey, text("t.key_version::text"), text("t.fingerprint"), own("organization_key")),
        ]
    }
}
