import CellCrypto
import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

/// What a System Administrator may do with the OpenID providers that the organization trusts: add, link and remove them.
///
/// The initializer checks the caller's role, so the methods do not check it again.
package struct IssuerAdministration: Sendable {
    private let session: Session

    private var organization: Organization { session.organization }
    private var caller: Caller { session.caller }
    private var deployment: Deployment { session.deployment }

    /// Checks that the caller is a System Administrator.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a caller that acts for another user.
    package init(_ session: Session) throws {
        try session.requireSystemAdministrator(to: "manage the OpenID issuers")
        self.session = session
    }

    /// Trusts a provider.
    ///
    /// - Parameters:
    ///   - issuer: The provider's issuer identifier: an https URL without query and fragment.
    ///   - secret: The secret of this service at the provider; nil for a public client.
    /// - Throws: ``FieldsealError`` for a name or issuer that exists already, or is malformed.
    package func add(name: String, issuer: String, clientID: String, secret: String?, claim: String) async throws {
        guard issuer.hasPrefix("https://"), issuer.count <= 500, URL(string: issuer)?.host() != nil, !issuer.contains("?"),
            !issuer.contains("#"), TrustedIssuers.claims.contains(claim), (1...100).contains(name.count),
            (1...500).contains(clientID.count)
        else {
            throw FieldsealError(
                .invalidArgument,
                "An issuer has a name, an https URL without query, a client id, and a claim of \(TrustedIssuers.claims.joined(separator: ", "))."
            )
        }
        let id = UUID.timeOrdered()
        let sealed = try secret.map { secret in
            Array(secret.utf8).withUnsafeBytes { SecretBytes(copying: $0) }
        }.map { try session.kek.seal($0, at: TrustedIssuers.address(id, organization.id)).bytes }
        let entry = TrustedIssuers.Entry(
            id: id, name: name, issuer: issuer, clientID: clientID, claim: claim, isAuthentic: true, secret: sealed,
            organizationID: organization.id)
        try await change(.issuerAdded, "\(name), \(issuer)") { change, connection in
            do {
                _ = try connection.query(
                    """
                    INSERT INTO config.oidc_issuer (issuer_id, organization_id, name, issuer, client_id, client_secret, claim, tag, created_by)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                    """,
                    [
                        .uuid(id), .uuid(organization.id), .text(name), .text(issuer), .text(clientID), .bytes(sealed),
                        .text(claim), .bytes(try change.grant(entry.grant)), .text(caller.actor),
                    ])
            } catch let error as PostgresError where error.state == .uniqueViolation {
                throw FieldsealError(.duplicateRecord, "This issuer, or another issuer of that name, is trusted already.")
            }
        }
    }

    /// Removes a provider, by its name or id, and all of its links. A provider whose row SQL changed can only be removed by its id.
    package func remove(_ name: String) async throws {
        try await change(.issuerRemoved, name) { change, connection in
            let id = try Self.id(toEnd: name, change, on: connection)
            try TrustedIssuers.removeLinks("issuer_id = $1", [.uuid(id)], &change, on: connection)
            _ = try connection.query("DELETE FROM config.oidc_issuer WHERE issuer_id = $1", [.uuid(id)])
            try change.remove(TrustedIssuers.Entry.name(id))
        }
    }

    /// The id of a provider to remove. A name only finds a row that this service wrote last.
    private static func id(
        toEnd nameOrID: String, _ change: AttestedChange, on connection: isolated PostgresConnection
    ) throws -> UUID {
        if let id = UUID(text: nameOrID.lowercased()), try change.names(TrustedIssuers.Entry.name(id)) { return id }
        let rows = try TrustedIssuers.rows(of: change.organization, on: connection)
        if let row = rows.first(where: { $0.entry.id.text == nameOrID.lowercased() }) { return row.entry.id }
        guard let (issuer, tag) = rows.first(where: { $0.entry.name == nameOrID }) else { throw unknown(nameOrID) }
        guard try change.grants.authenticates(issuer.grant, tag: tag, under: change.kek) else {
            throw FieldsealError.notTheNamedRow(issuer.name, issuer.id)
        }
        return issuer.id
    }

    /// Links a subject of a provider to a person or a client.
    ///
    /// - Parameters:
    ///   - user: The person's name, or nil.
    ///   - client: The client's name or id, or nil.
    package func link(_ subject: String, of name: String, user: String?, client: String?) async throws {
        guard (1...255).contains(subject.count), (user == nil) != (client == nil) else {
            throw FieldsealError(
                .invalidArgument, "A subject has 1 to 255 characters, and is linked either to a person or to a client.")
        }
        let known = try await TrustedIssuers(deployment).list(organization)
        guard let issuer = known.first(where: { $0.name == name && $0.isAuthentic }) else { throw Self.unknown(name) }
        try await change(.identityLinked, "\(subject) of \(name) is \(user ?? client ?? "")") { change, connection in
            let id = try Self.account(user: user, client: client, &change, on: connection)
            let link = user != nil ? TrustedIssuers.Link.user(id) : .client(id)
            _ = try connection.query(
                """
                INSERT INTO config.oidc_link (issuer_id, subject, user_id, client_id, tag, created_by) VALUES ($1, $2, $3, $4, $5, $6)
                ON CONFLICT (issuer_id, subject) DO UPDATE
                    SET user_id = EXCLUDED.user_id, client_id = EXCLUDED.client_id, tag = EXCLUDED.tag, created_by = EXCLUDED.created_by
                """,
                [
                    .uuid(issuer.id), .text(subject), .uuid(user != nil ? id : nil), .uuid(client != nil ? id : nil),
                    .bytes(try change.grant(link.grant(subject, at: issuer.id))), .text(caller.actor),
                ])
        }
    }

    /// The id of a person or a client. Only rows that this service wrote are found, because SQL could give another row the same
    /// name.
    private static func account(
        user: String?, client: String?, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws -> UUID {
        guard let user else {
            return try ClientRegistry.row(
                client ?? "", of: change.organization, in: change.grants, under: change.kek, on: connection
            ).id
        }
        guard let (row, tag, _) = try ConsoleUsers.row(named: user, &change, on: connection) else {
            throw FieldsealError(.objectDoesNotExist, "There is no person named \(user.quotedForMessage) here.")
        }
        guard try row.isNewest(tag, in: change.grants, under: change.kek) else {
            throw ConsoleUsers.foreign(user)
        }
        return row.id
    }

    private func change(
        _ kind: SecurityEvent.Kind,
        _ details: String,
        _ body: @Sendable (inout AttestedChange, isolated PostgresConnection) throws -> Void
    ) async throws {
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                try body(&change, connection)
                try change.append(SecurityEvent(kind, .succeeded, details: details), by: caller, on: connection)
            }
        }
    }

    private static func unknown(_ name: String) -> FieldsealError {
        FieldsealError(
            .objectDoesNotExist,
            "No issuer \(name.quotedForMessage) is trusted here. See fieldseal issuer list. If SQL deleted the issuer's row, "
                + "`fieldseal org attach` ends the access that the row granted.")
    }
}
