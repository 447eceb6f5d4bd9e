package import CellCrypto
package import Foundation
import JSON
import Model
package import PostgresClient
package import Tenancy

/// The OpenID providers that an organization trusts, and the links of their subjects to people and clients here.
package struct TrustedIssuers: Sendable {
    private let deployment: Deployment

    package init(_ deployment: Deployment) { self.deployment = deployment }

    /// Claims that identify a subject and that a provider never assigns to another one. E-mail addresses are not among them.
    package static let claims = ["sub", "oid", "appid", "azp", "client_id"]

    /// A provider in a list and on the sign-in page.
    package struct Entry: Sendable {
        package let id: UUID
        /// Its display name.
        package let name: String
        /// Its issuer identifier, a URL.
        package let issuer: String
        /// The client id of this service at the provider.
        package let clientID: String
        package let claim: String
        /// Whether this service wrote the row.
        package fileprivate(set) var isAuthentic: Bool
        package var secret: [UInt8]?
        let organizationID: UUID
    }

    /// Trusts a provider.
    ///
    /// - Parameters:
    ///   - issuer: Its issuer identifier: an https URL without query and fragment.
    ///   - secret: The secret of this service at the provider; nil for a public client.
    /// - Throws: ``FieldsealError`` for a name or issuer that exists already, or is malformed.
    package func add(name: String, issuer: String, clientID: String, secret: String?, claim: String, by session: Session)
        async throws
    {
        try session.requireSystemAdministrator(to: "manage the OpenID issuers")
        guard issuer.hasPrefix("https://"), issuer.count <= 500, URL(string: issuer)?.host() != nil, !issuer.contains("?"),
            !issuer.contains("#"), Self.claims.contains(claim), (1...100).contains(name.count), (1...500).contains(clientID.count)
        else {
            throw FieldsealError(
                .invalidArgument,
                "An issuer has a name, an https URL without query, a client id, and a claim of \(Self.claims.joined(separator: ", "))."
            )
        }
        let id = UUID.timeOrdered()
        let sealed = try secret.map { secret in
            Array(secret.utf8).withUnsafeBytes { SecretBytes(copying: $0) }
        }.map { try session.kek.seal($0, at: Self.address(id, session.organization.id)).bytes }
        let entry = Entry(
            id: id, name: name, issuer: issuer, clientID: clientID, claim: claim, isAuthentic: true, secret: sealed,
            organizationID: session.organization.id)
        try await change(.issuerAdded, "\(name), \(issuer)", by: session) { change, connection in
            do {
                _ = try connection.query(
                    """
                    INSERT INTO config.oidc_issuer (issuer_id, organization_id, name, issuer, client_id, client_secret, claim, tag, created_by)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                    """,
                    [
                        .uuid(id), .uuid(session.organization.id), .text(name), .text(issuer), .text(clientID), .bytes(sealed),
                        .text(claim), .bytes(try change.grant(entry.grant)), .text(session.caller.actor),
                    ])
            } catch let error as PostgresError where error.state == .uniqueViolation {
                throw FieldsealError(.duplicateRecord, "This issuer, or one of that name, is trusted already.")
            }
        }
    }

    /// The providers of an organization, by name.
    package func list(_ organization: Organization) async throws -> [Entry] { try await list(named: organization.name) }

    func list(named organization: String) async throws -> [Entry] {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization, in: deployment, on: connection)
            return try Self.rows(of: state.organization, on: connection).map { entry, tag in
                var entry = entry
                entry.isAuthentic = try state.grants.authenticates(entry.grant, tag: tag, under: deployment.kek)
                return entry
            }
        }
    }

    /// Every row of an organization by name, unverified.
    package static func rows(of organization: Organization, on connection: isolated PostgresConnection) throws -> [(
        entry: Entry, tag: [UInt8]
    )] {
        try connection.query(
            """
            SELECT issuer_id, organization_id, name, issuer, client_id, client_secret, claim, tag FROM config.oidc_issuer
             WHERE organization_id = $1 ORDER BY name
            """, [.uuid(organization.id)]
        ).map { row in
            let entry = Entry(
                id: try row.decode(0), name: try row.decode(2), issuer: try row.decode(3), clientID: try row.decode(4),
                claim: try row.decode(6), isAuthentic: false,
                secret: row.isNull(5) ? nil : try row.decode(5, as: PostgresBytes.self).bytes, organizationID: try row.decode(1))
            return (entry, try row.decode(7, as: PostgresBytes.self).bytes)
        }
    }

    /// Removes a provider and all of its links.
    package func remove(_ name: String, by session: Session) async throws {
        try session.requireSystemAdministrator(to: "manage the OpenID issuers")
        try await change(.issuerRemoved, name, by: session) { change, connection in
            let issuer = try connection.query(
                "SELECT issuer_id FROM config.oidc_issuer WHERE organization_id = $1 AND name = $2 FOR UPDATE",
                [.uuid(session.organization.id), .text(name)])
            guard let id = try issuer.first?.decode(0, as: UUID.self) else { throw Self.unknown(name) }
            try Self.removeLinks("issuer_id = $1", [.uuid(id)], &change, on: connection)
            _ = try connection.query("DELETE FROM config.oidc_issuer WHERE issuer_id = $1", [.uuid(id)])
            try change.remove(Entry.name(id))
        }
    }

    /// Removes the links that match a condition over `config.oidc_link`.
    static func removeLinks(
        _ condition: String, _ parameters: [PostgresParameter], _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws {
        let links = try connection.query(
            "DELETE FROM config.oidc_link WHERE \(condition) RETURNING issuer_id, subject", parameters)
        for link in links { try change.remove(Link.name(try link.decode(0), try link.decode(1))) }
    }

    /// The person or client that a subject of a provider is linked to.
    package enum Link: Sendable, Equatable {
        /// A person of the console.
        case user(UUID)
        /// A client of the Web API.
        case client(UUID)
    }

    /// Links a subject of a provider to a person or a client.
    ///
    /// - Parameters:
    ///   - user: The person's name, or nil.
    ///   - client: The client's name or id, or nil.
    package func link(_ subject: String, of name: String, user: String?, client: String?, by session: Session) async throws {
        try session.requireSystemAdministrator(to: "manage the OpenID issuers")
        let organization = session.organization
        guard (1...255).contains(subject.count), (user == nil) != (client == nil) else {
            throw FieldsealError(.invalidArgument, "A subject has 1 to 255 characters, and is one person or one client.")
        }
        guard let issuer = try await list(organization).first(where: { $0.name == name && $0.isAuthentic }) else {
            throw Self.unknown(name)
        }
        try await change(.identityLinked, "\(subject) of \(name) is \(user ?? client ?? "")", by: session) { change, connection in
            let id = try Self.account(user: user, client: client, &change, on: connection)
            let link = user != nil ? Link.user(id) : .client(id)
            _ = try connection.query(
                """
                INSERT INTO config.oidc_link (issuer_id, subject, user_id, client_id, tag, created_by) VALUES ($1, $2, $3, $4, $5, $6)
                ON CONFLICT (issuer_id, subject) DO UPDATE
                    SET user_id = EXCLUDED.user_id, client_id = EXCLUDED.client_id, tag = EXCLUDED.tag, created_by = EXCLUDED.created_by
                """,
                [
                    .uuid(issuer.id), .text(subject), .uuid(user != nil ? id : nil), .uuid(client != nil ? id : nil),
                    .bytes(try change.grant(link.grant(subject, at: issuer.id))), .text(session.caller.actor),
                ])
        }
    }

    /// The id of a person or a client. This service must have written the row, because SQL could give another one that name.
    private static func account(
        user: String?, client: String?, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws -> UUID {
        guard let user else {
            return try ClientRegistry.row(
                client ?? "", of: change.organization, in: change.grants, under: change.kek, on: connection
            ).id
        }
        guard let (row, tag, _) = try ConsoleUsers.row(named: user, &change, on: connection) else {
            throw FieldsealError(.objectDoesNotExist, "There is no \(user.quotedForMessage) here.")
        }
        guard try row.isNewest(tag, in: change.grants, under: change.kek) else {
            throw ConsoleUsers.foreign(user)
        }
        return row.id
    }

    /// The person or client of a subject; nil if it is not linked, or this service did not write the link.
    func link(of subject: String, at issuer: Entry, in organization: String) async throws -> Link? {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization, in: deployment, on: connection)
            let rows = try connection.query(
                "SELECT user_id, client_id, tag FROM config.oidc_link WHERE issuer_id = $1 AND subject = $2",
                [.uuid(issuer.id), .text(subject)])
            guard let row = rows.first else { return nil }
            let link = try Link(row)
            let tag = try row.decode(2, as: PostgresBytes.self).bytes
            return try state.grants.authenticates(link.grant(subject, at: issuer.id), tag: tag, under: deployment.kek) ? link : nil
        }
    }

    /// The secret of this service at a provider.
    func secret(of entry: Entry) throws -> String? {
        try entry.secret.map { sealed in
            try deployment.kek.open(sealed, at: Self.address(entry.id, entry.organizationID)).withBytes {
                String(decoding: $0, as: UTF8.self)
            }
        }
    }

    private func change(
        _ kind: SecurityEvent.Kind,
        _ details: String,
        by session: Session,
        _ body: @Sendable (inout AttestedChange, isolated PostgresConnection) throws -> Void
    ) async throws {
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: session.organization, under: deployment.kek, on: connection) { change in
                try body(&change, connection)
                try change.append(SecurityEvent(kind, .succeeded, details: details), by: session.caller, on: connection)
            }
        }
    }

    package static func address(_ id: UUID, _ organization: UUID) -> CellAddress {
        CellAddress(organization: organization, record: id, attribute: "oidc.secret")
    }

    private static func unknown(_ name: String) -> FieldsealError {
        FieldsealError(
            .objectDoesNotExist,
            "No issuer \(name.quotedForMessage) is trusted here: fieldseal issuer list. If SQL deleted the row, `fieldseal org attach` "
                + "ends what it granted.")
    }
}

// The attested contents of issuers and links.
extension TrustedIssuers.Entry {
    static func name(_ id: UUID) -> Grant.Name { Grant.Name(.issuer, [id.bytes]) }

    package var grant: Grant {
        Grant(
            Self.name(id),
            [organizationID.bytes] + [name, issuer, clientID, claim].map { Grant.field($0) } + [Grant.field(secret)])
    }
}

extension TrustedIssuers.Link {
    /// Reads `user_id, client_id`. One of them is null.
    package init(_ row: PostgresRow, at first: Int = 0) throws {
        self = try row.isNull(first) ? .client(row.decode(first + 1)) : .user(row.decode(first))
    }

    static func name(_ issuer: UUID, _ subject: String) -> Grant.Name {
        Grant.Name(.link, [issuer.bytes, Grant.field(subject)])
    }

    /// The grant that attests a link from a subject of an issuer to this account.
    package func grant(_ subject: String, at issuer: UUID) -> Grant {
        let (kind, id) =
            switch self {
            case .user(let id): ("user", id)
            case .client(let id): ("client", id)
            }
        return Grant(Self.name(issuer, subject), [Grant.field(kind), id.bytes])
    }
}
