import Authentication
import CellCrypto
import Foundation
import JSON
package import PostgresClient
package import Tenancy

/// A row of `config` that grants access, with the data to verify it and to tag it again.
package struct GrantRow: Sendable {
    package let grant: Grant
    /// The stored tag; empty if there is none.
    package let tag: [UInt8]
    /// The row's name for people, such as `client router`.
    package let title: String
    /// Whether the row itself says that it is disabled.
    package let isDisabled: Bool
    /// The values of the primary key.
    let key: [PostgresParameter]
    /// The input of the row's tag before the attested state existed; nil for rows that had no tag.
    let formerTag: (label: String, fields: [[UInt8]])?
    /// The role of a client or a person, or the dates of a secret, for people.
    var detail: String?
    /// Returns the grant that the row has once it is disabled at the given moment; nil for rows that can't be disabled.
    var disabled: (@Sendable (PostgresMoment) -> Grant)?
    /// For a row that belongs to a person: the person's own row, and a function that returns this row's grant once the person's row
    /// has changed. Nil for other rows.
    var person: (row: ConsoleUsers.Row, grant: @Sendable (ConsoleUsers.Row) -> Grant)?
    /// The OpenID provider, if the row is a provider's; nil for other rows.
    var issuer: TrustedIssuers.Entry?

    /// ``title`` with ``detail``.
    var fullTitle: String { detail.map { "\(title) (\($0))" } ?? title }

    /// Disables the row of a client or a person.
    ///
    /// - Parameter tag: The tag of ``disabled`` for that moment.
    func disable(at moment: PostgresMoment, tag: [UInt8], on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            "UPDATE config.\(grant.name.kind.rawValue) SET disabled_on = $1, tag = $2 WHERE \(columns[0]) = $3",
            [.moment(moment), .bytes(tag)] + key)
    }

    /// Replaces the row's stored tag.
    func store(_ tag: [UInt8], on connection: isolated PostgresConnection) throws {
        let condition = columns.enumerated().map { "\($1) = $\($0 + 2)" }.joined(separator: " AND ")
        _ = try connection.query(
            "UPDATE config.\(grant.name.kind.rawValue) SET tag = $1 WHERE \(condition)", [.bytes(tag)] + key)
    }

    private var columns: [String] {
        switch grant.name.kind {
        case .client: ["client_id"]
        case .clientSecret: ["secret_id"]
        case .clientKey: ["key_id"]
        case .user: ["user_id"]
        case .recoveryCode: ["user_id", "hash"]
        case .session: ["token_hash"]
        case .issuer: ["issuer_id"]
        case .link: ["issuer_id", "subject"]
        case .approval: ["approval_id"]
        case .organizationKey, .disabledSystemUser, .suspension, .secondFactorPolicy, .mailServer, .keyDerivation, .keyControl: []
        case .userRole, .teamRole, .teamMember, .role, .rolesWereGiven, .invitation, .ownPassword, .secrets, .sessions, .codes,
            .keys, .links:
            []
        }
    }
}

extension GrantRow {
    /// Every row of an organization that has a tag. Rows come after the rows that they depend on.
    package static func all(of organization: Organization, on connection: isolated PostgresConnection) throws -> [GrantRow] {
        try clients(of: organization, on: connection) + secrets(of: organization, on: connection)
            + keys(of: organization, on: connection) + users(of: organization, on: connection)
            + issuers(of: organization, on: connection) + approvals(of: organization, on: connection)
    }

    private static func approvals(of organization: Organization, on connection: isolated PostgresConnection) throws -> [GrantRow] {
        // The migration that attests rows for the first time runs before this table exists.
        guard try connection.query("SELECT to_regclass('config.approval') IS NOT NULL")[0].decode(0, as: Bool.self) else {
            return []
        }
        return try Approval.all(of: organization, on: connection).map { row, tag in
            GrantRow(
                grant: row.grant, tag: tag, title: "request for approval \(row.id.text)", isDisabled: false, key: [.uuid(row.id)],
                formerTag: nil)
        }
    }

    private static func clients(of organization: Organization, on connection: isolated PostgresConnection) throws -> [GrantRow] {
        try ClientRegistry.rows(of: organization, on: connection).map { row, _ in
            GrantRow(
                grant: row.grant(in: organization), tag: row.tag, title: "client \(row.name)",
                isDisabled: row.disabledOn != nil, key: [.uuid(row.id)],
                formerTag: (
                    "api_client", [row.id.bytes, organization.id.bytes, row.systemUserID.bytes, Grant.field(row.role)]
                ),
                detail: row.role,
                disabled: {
                    OrganizationState.ClientRow.grant(
                        row.id, organization, name: row.name, systemUser: row.systemUserID, role: row.role, disabledOn: $0)
                })
        }
    }

    private static func secrets(of organization: Organization, on connection: isolated PostgresConnection) throws -> [GrantRow] {
        try connection.query(
            """
            SELECT s.secret_id, s.salt, s.verifier, s.expires_on, s.tag, c.client_id, c.name, s.created_on
              FROM config.api_client_secret AS s JOIN config.api_client AS c USING (client_id)
             WHERE c.organization_id = $1 ORDER BY c.name, s.created_on
            """, [.uuid(organization.id)]
        ).map { row in
            let client: UUID = try row.decode(5)
            let (secret, tag) = try ClientRegistry.secretRow(row, of: client)
            return GrantRow(
                grant: secret.grant, tag: tag, title: "secret of client \(try row.decode(6, as: String.self))", isDisabled: false,
                key: [.uuid(secret.id)],
                formerTag: ("api_client_secret", [secret.id.bytes, client.bytes, secret.salt, secret.verifier]),
                detail: "made on \(ISO8601.text(try row.decode(7))), "
                    + (secret.expiresOn.map { "valid until \(ISO8601.text($0.date))" } ?? "does not expire"))
        }
    }

    private static func keys(of organization: Organization, on connection: isolated PostgresConnection) throws -> [GrantRow] {
        // The migration that attests rows for the first time runs before this table exists.
        guard try connection.query("SELECT to_regclass('config.api_client_key') IS NOT NULL")[0].decode(0, as: Bool.self) else {
            return []
        }
        return try ClientRegistry.keyRows(of: organization, on: connection).map { row, tag, name in
            GrantRow(
                grant: row.grant, tag: tag, title: "key of client \(name)", isDisabled: false, key: [.uuid(row.id)], formerTag: nil)
        }
    }

    private static func users(of organization: Organization, on connection: isolated PostgresConnection) throws -> [GrantRow] {
        let users = try connection.query(
            "SELECT \(ConsoleUsers.columns) FROM config.console_user AS u WHERE u.organization_id = $1 ORDER BY lower(u.name)",
            [.uuid(organization.id)]
        ).compactMap { try ConsoleUsers.row($0) }
        let rows = users.map { user, tag in
            GrantRow(
                grant: user.grant, tag: tag, title: "person \(user.name)", isDisabled: user.disabledOn != nil,
                key: [.uuid(user.id)],
                formerTag: (
                    "console_user",
                    [
                        user.id.bytes, user.organizationID.bytes, Grant.field(user.name), user.systemUserID.bytes,
                        Grant.field(user.role.rawValue), user.salt, user.verifier, user.totp ?? [],
                    ]
                ),
                detail: user.role.rawValue,
                disabled: { moment in
                    var user = user
                    user.disabledOn = moment
                    return user.grant
                }, person: (user, { $0.grant }))
        }
        let byID = Dictionary(users.map { ($0.row.id, $0.row) }) { first, _ in first }
        return try rows + codes(of: byID, in: organization, on: connection) + sessions(of: byID, in: organization, on: connection)
    }

    private static func codes(
        of users: [UUID: ConsoleUsers.Row], in organization: Organization, on connection: isolated PostgresConnection
    ) throws -> [GrantRow] {
        try connection.query(
            """
            SELECT c.user_id, c.hash, coalesce(c.tag, ''::bytea) FROM config.console_recovery_code AS c
              JOIN config.console_user AS u USING (user_id) WHERE u.organization_id = $1
            """, [.uuid(organization.id)]
        ).compactMap { row in
            guard let user = users[try row.decode(0)] else { return nil }
            let hash = try row.decode(1, as: PostgresBytes.self).bytes
            return GrantRow(
                grant: SecondFactor.grant(hash, of: user), tag: try row.decode(2, as: PostgresBytes.self).bytes,
                title: "recovery code of \(user.name)", isDisabled: false, key: [.uuid(user.id), .bytes(hash)], formerTag: nil,
                person: (user, { SecondFactor.grant(hash, of: $0) }))
        }
    }

    private static func sessions(
        of users: [UUID: ConsoleUsers.Row], in organization: Organization, on connection: isolated PostgresConnection
    ) throws -> [GrantRow] {
        try connection.query(
            """
            SELECT s.token_hash, s.user_id, s.created_on, s.fresh_on, s.tag FROM config.console_session AS s
              JOIN config.console_user AS u USING (user_id) WHERE u.organization_id = $1
            """, [.uuid(organization.id)]
        ).compactMap { row in
            let (session, tag) = try ConsoleSessions.row(row)
            guard let user = users[session.userID] else { return nil }
            return GrantRow(
                grant: session.grant(of: user), tag: tag, title: "session of \(user.name)", isDisabled: false,
                key: [.bytes(session.tokenHash)], formerTag: nil, person: (user, { session.grant(of: $0) }))
        }
    }

    private static func issuers(of organization: Organization, on connection: isolated PostgresConnection) throws -> [GrantRow] {
        try TrustedIssuers.rows(of: organization, on: connection).flatMap { issuer, tag -> [GrantRow] in
            let fields =
                [issuer.id.bytes, organization.id.bytes]
                + [issuer.name, issuer.issuer, issuer.clientID, issuer.claim].map { Grant.field($0) }
            let row = GrantRow(
                grant: issuer.grant, tag: tag, title: "issuer \(issuer.name)", isDisabled: false, key: [.uuid(issuer.id)],
                formerTag: ("oidc_issuer", fields), issuer: issuer)
            let links = try connection.query(
                "SELECT user_id, client_id, subject, tag FROM config.oidc_link WHERE issuer_id = $1 ORDER BY subject",
                [.uuid(issuer.id)])
            return try [row]
                + links.map { link in
                    let subject: String = try link.decode(2)
                    let grant = try TrustedIssuers.Link(link).grant(subject, at: issuer.id)
                    return GrantRow(
                        grant: grant, tag: try link.decode(3, as: PostgresBytes.self).bytes,
                        title: "link of \(subject) at \(issuer.name)", isDisabled: false, key: [.uuid(issuer.id), .text(subject)],
                        formerTag: ("oidc_link", grant.name.key + grant.content))
                }
        }
    }
}
