public import CellCrypto
public import Foundation
import PostgresClient

/// What a router signs in to a mail server with.
public struct Credential: Sendable {
    public let userName: String?
    /// Wiped with the last that holds it; nil to sign in without one.
    public fileprivate(set) var password: SecretBytes?
    public let server: String
    public let port: Int
    public let usesTLS: Bool
    /// 0 auto detect, 1 negotiate, 2 NTLM, 3 basic, 4 OAuth.
    public let authentication: Int
    /// 1 POP3, 4 IMAP; SMTP when outgoing.
    public let serverType: Int
}

/// Which way mail goes.
public enum MailDirection: String, Sendable {
    case incoming = "Incoming"
    case outgoing = "Outgoing"
}

extension Session {
    /// Releases what a leased mailbox's router signs in with: the one way in which a plaintext leaves the server.
    ///
    /// - Throws: ``FieldsealError``: `.privilegeDenied` for anybody but an Email Router; `.concurrencyVersionMismatch` for a mailbox that is
    ///   not leased to it; `.profileNotAssociated` when there is nothing to sign in with; `.keyRequired`.
    public func releaseCredential(_ mailbox: UUID, _ direction: MailDirection, host: String, allowsPlaintext: Bool) async throws
        -> Credential
    {
        do throws(any Error) {
            try requireRouter()
            let released = try await deployment.pool.withConnection { connection in
                try connection.transaction { try release(mailbox, direction, host, allowsPlaintext, on: connection) }
            }
            return try await authorized(released)
        } catch let error as FieldsealError {
            try await record(
                SecurityEvent(
                    .credentialReleased, .refused, details: "\(direction.rawValue), mailbox \(mailbox.text): \(error.code.rawValue)"
                ))
            throw error
        }
    }

    private func release(
        _ mailbox: UUID, _ direction: MailDirection, _ host: String, _ allowsPlaintext: Bool,
        on connection: isolated PostgresConnection
    ) throws -> Released {
        try confirm(on: connection)
        try renewLease(mailbox, host, on: connection)
        let key = try currentKey(on: connection)
        let isOutgoing = direction == .outgoing
        let rows = try connection.query(
            """
            WITH s AS (SELECT p.*, CASE WHEN $2 AND NOT coalesce(p.usesamesettingsforoutgoingconnections, false) THEN 'outgoing' ELSE 'incoming' END AS side
                         FROM \(organization.qualified("mailbox")) AS m JOIN \(organization.qualified("emailserverprofile")) AS p
                           ON p.emailserverprofileid = m.emailserverprofile WHERE m.mailboxid = $1)
            SELECT s.emailserverprofileid, s.servertype, s.side,
                   CASE s.side WHEN 'incoming' THEN s.incomingcredentialretrieval ELSE s.outgoingcredentialretrieval END,
                   CASE s.side WHEN 'incoming' THEN s.incomingusername ELSE s.outgoingusername END,
                   CASE s.side WHEN 'incoming' THEN s.incomingauthenticationprotocol ELSE s.outgoingauthenticationprotocol END,
                   coalesce(CASE WHEN $2 THEN s.outgoingserverlocation ELSE s.incomingserverlocation END, s.defaultserverlocation),
                   CASE WHEN $2 THEN s.outgoingportnumber ELSE s.incomingportnumber END,
                   coalesce(CASE WHEN $2 THEN s.outgoingusessl ELSE s.incomingusessl END, true),
                   m.allowemailconnectortousecredentials, m.username, m.regardingobjecttypecode, m.regardingobjectid,
                   CASE m.regardingobjecttypecode WHEN 'queue' THEN q.emailusername ELSE u.emailusername END,
                   CASE m.regardingobjecttypecode WHEN 'queue' THEN q.allowemailcredentials ELSE u.allowemailcredentials END,
                   m.emailrouteraccessapproval = 1, m.emailaddress, s.exchangeonlinetenantid
              FROM \(organization.qualified("mailbox")) AS m JOIN s ON true
              LEFT JOIN \(organization.qualified("queue")) AS q ON q.queueid = m.regardingobjectid
              LEFT JOIN \(organization.qualified("usersettings")) AS u ON u.systemuserid = m.regardingobjectid
             WHERE m.mailboxid = $1
            """, [.uuid(mailbox), .bool(isOutgoing)])
        guard let row = rows.first else { throw FieldsealError(.profileNotAssociated, "The mailbox has no e-mail server profile.") }
        guard try row.decodeIfPresent(15, as: Bool.self) ?? false else {
            throw FieldsealError(
                .profileInactive,
                "The address \((try row.decodeIfPresent(16, as: String.self) ?? "").quotedForMessage) is not approved: set emailrouteraccessapproval to 1."
            )
        }
        let usesTLS: Bool = try row.decode(8)
        guard usesTLS || allowsPlaintext else {
            throw FieldsealError(
                .sslRequired,
                "The profile asks for a connection without TLS, and this deployment does not allow that (mail.allowsPlaintext).")
        }
        guard let server: String = try row.decodeIfPresent(6), !server.isEmpty, server.allSatisfy(\.isHostCharacter) else {
            throw FieldsealError(
                .profileNotAssociated, "The profile names no server of its \(direction.rawValue.lowercased()) mail.")
        }
        let serverType: Int = try row.decodeIfPresent(1) ?? 1
        let port = try row.decodeIfPresent(7, as: Int.self) ?? (isOutgoing ? 587 : serverType == 1 ? 995 : 993)
        var userName: String?
        var source: MailTokens.Source?
        func from(_ entity: EntityDefinition, _ record: UUID, _ attribute: String) -> MailTokens.Source {
            .init(organization: organization.id, entity: entity.logicalName, record: record, attribute: attribute)
        }
        switch try row.decodeIfPresent(3, as: Int.self) ?? 0 {
        case 0 where try row.decodeIfPresent(9, as: Bool.self) ?? false:
            userName = try row.decodeIfPresent(10)
            source = from(.mailbox, mailbox, "password")
        case 0:
            userName = try row.decodeIfPresent(13)
            guard try row.decodeIfPresent(14, as: Bool.self) ?? false, let id: UUID = try row.decodeIfPresent(12) else {
                throw FieldsealError(
                    .profileNotAssociated,
                    "The profile takes credentials by user or queue, and neither the mailbox nor its user or queue allows their use."
                )
            }
            source = from(try row.decodeIfPresent(11, as: String.self) == "queue" ? .queue : .userSettings, id, "emailpassword")
        case 1:
            userName = try row.decodeIfPresent(4)
            source = from(.emailServerProfile, try row.decode(0), "\(try row.decode(2, as: String.self))password")
        case 4: break
        default:
            throw FieldsealError(
                .notImplemented,
                "Credentials are retrieved by user or queue (0), from the profile (1), or not at all (4); no other way is there.")
        }
        let password = try source.flatMap { try open($0, key, on: connection)?.secret }
        guard source == nil || userName?.isEmpty == false && password != nil else {
            throw FieldsealError(
                .profileNotAssociated, "There is no user name, or no password, to sign in with (\(source?.entity ?? "")).")
        }
        try SecurityEvent(
            .credentialReleased, .succeeded, keyVersion: key.version,
            details: "\(direction.rawValue), mailbox \(mailbox.text), from \(source?.entity ?? "none"), for \(server):\(port)"
        ).insert(for: organization, by: caller, under: deployment.kek, on: connection)
        return Released(
            credential: Credential(
                userName: userName, password: password, server: server, port: port, usesTLS: usesTLS,
                authentication: try row.decodeIfPresent(5) ?? 0, serverType: serverType == 1 ? 1 : 4),
            source: source, tenant: try row.decodeIfPresent(17))
    }

    /// What is sealed, and where.
    private struct Released {
        var credential: Credential
        let source: MailTokens.Source?
        let tenant: String?
    }

    // MARK: Access tokens

    /// Puts an access token in the place of what it is exchanged for, where the mail server's tokens come from an authorization server.
    private func authorized(_ released: Released) async throws -> Credential {
        let tokens = deployment.mailTokens
        var credential = released.credential
        guard credential.authentication == 4, let source = released.source, let sealed = credential.password,
            let application = tokens.application(for: credential.server)
        else { return credential }
        if let token = tokens.token(for: source, sealed) {
            credential.password = token
            return credential
        }
        // A task of its own: whoever hangs up meanwhile must not keep a new refresh token from being sealed.
        credential.password = try await Task {
            try await deployment.pool.withConnection { connection in
                try await exchangeAlone(source, application, released.tenant, on: connection)
            }
        }.value
        return credential
    }

    /// One server at a time, since a refresh token may be good for one use. Nothing else is locked meanwhile.
    private func exchangeAlone(
        _ source: MailTokens.Source, _ application: MailTokens.Application, _ tenant: String?,
        on connection: isolated PostgresConnection
    ) async throws -> SecretBytes {
        let name = PostgresParameter.text("\(source.organization.text) \(source.record.text) \(source.attribute)")
        _ = try connection.query("SELECT pg_advisory_lock(hashtextextended($1, 0))", [name])
        defer {
            do {
                _ = try connection.query("SELECT pg_advisory_unlock(hashtextextended($1, 0))", [name])
            } catch {
                // The lock ends with its connection.
                connection.close()
            }
        }
        return try await exchange(source, application, tenant, on: connection)
    }

    private func exchange(
        _ source: MailTokens.Source, _ application: MailTokens.Application, _ tenant: String?,
        on connection: isolated PostgresConnection
    ) async throws -> SecretBytes {
        let tokens = deployment.mailTokens
        // Another server may have exchanged it, and sealed its successor.
        let sealed = try current(source, on: connection)
        if let token = tokens.token(for: source, sealed) { return token }
        let answer = try await tokens.exchange(sealed, by: application, tenant: tenant)
        if let next = answer.refreshToken, !next.isEqual(to: sealed) {
            try replace(sealed, with: next, in: source, on: connection)
            tokens.remember(answer, for: source, next)
        } else {
            tokens.remember(answer, for: source, sealed)
        }
        return answer.token
    }

    private func current(_ source: MailTokens.Source, on connection: isolated PostgresConnection) throws -> SecretBytes {
        let key = try currentKey(on: connection)
        guard let sealed = try open(source, key, on: connection)?.secret else {
            throw FieldsealError(.profileNotAssociated, "There is no password any more to sign in with (\(source.entity)).")
        }
        return sealed
    }

    private func currentKey(on connection: isolated PostgresConnection) throws -> CurrentKey {
        let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
        let key = try deployment.keyring.requiredKey(of: state)
        return CurrentKey(version: state.keyVersion, key: key)
    }

    /// Seals the successor of a refresh token where the old one is, unless somebody set another password meanwhile.
    private func replace(
        _ old: SecretBytes, with new: SecretBytes, in source: MailTokens.Source, on connection: isolated PostgresConnection
    ) throws {
        guard let entity = EntityCatalog.entity(source.entity) else { return }
        let attribute = quoteIdentifier(source.attribute)
        var attempts = 0
        while true {
            let key = try currentKey(on: connection)
            do {
                return try connection.transaction {
                    guard let there = try open(source, key, on: connection), there.secret.isEqual(to: old) else {
                        return
                    }
                    let cell = try new.withBytes { bytes in
                        try key.seal(String(decoding: bytes, as: UTF8.self), entity, source.attribute, source.record, organization)
                    }
                    // Who did it, for the audit: the record itself is left as it is.
                    _ = try connection.pipeline([
                        ("SELECT set_config('fieldseal.user', $1, true)", [.text(caller.systemUserID?.text ?? "")]),
                        (
                            """
                            UPDATE \(organization.qualified(entity.cellTable)) SET \(attribute) = $3
                             WHERE \(entity.idColumn) = $1 AND key_version = $2 AND \(attribute) = $4
                            """, [.uuid(source.record), .int32(Int32(key.version)), .bytes(cell), .bytes(there.cell)]
                        ),
                        try PasswordEvents.replacement(
                            PendingEvent(
                                .passwordReplaced,
                                details:
                                    "\(entity.logicalName)(\(source.record.text)).\(source.attribute), by a refresh token's successor",
                                by: caller), organization, deployment.kek),
                    ])
                }
            } catch let error as PostgresError where error.isStaleKey && attempts < 16 {
                // The key was changed meanwhile.
                attempts += 1
            }
        }
    }

    private func open(_ source: MailTokens.Source, _ key: CurrentKey, on connection: isolated PostgresConnection)
        throws -> (
            cell: [UInt8], secret: SecretBytes
        )?
    {
        guard let entity = EntityCatalog.entity(source.entity) else { return nil }
        let rows = try connection.query(
            """
            SELECT \(quoteIdentifier(source.attribute)) FROM \(organization.qualified(entity.cellTable))
             WHERE \(entity.idColumn) = $1 AND key_version = $2
            """, [.uuid(source.record), .int32(Int32(key.version))])
        guard let row = rows.first, !row.isNull(0) else { return nil }
        let cell = try row.decode(0, as: PostgresBytes.self).bytes
        let address = CellAddress(
            organization: organization.id, record: source.record, attribute: entity.cellName(source.attribute))
        return (cell, try key.key.open(cell, at: address))
    }
}

extension Character {
    /// Whether it may stand in a host's name or address.
    fileprivate var isHostCharacter: Bool { isASCII && (isLetter || isNumber || ".-:".contains(self)) }
}
