import CellCrypto
public import Foundation
import PostgresClient

/// What a router signs in to a mail server with.
public struct Credential: Sendable {
    public let userName: String?
    /// Nil to sign in without one.
    public let password: SecretBytesBox?
    public let server: String
    public let port: Int
    public let usesTLS: Bool
    /// 0 auto detect, 1 negotiate, 2 NTLM, 3 basic, 4 OAuth.
    public let authentication: Int
    /// 1 POP3, 4 IMAP; SMTP when outgoing.
    public let serverType: Int

    /// A password, wiped with the last that holds it.
    public struct SecretBytesBox: Sendable {
        let secret: SecretBytes
        /// Lends it as a text for the time of the call.
        public func withString<Result>(_ body: (String) throws -> Result) rethrows -> Result {
            try secret.withBytes { bytes in try body(String(decoding: bytes, as: UTF8.self)) }
        }
    }
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
            return try await deployment.pool.withConnection { connection in
                try connection.transaction { try release(mailbox, direction, host, allowsPlaintext, on: connection) }
            }
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
    ) throws -> Credential {
        try confirm(on: connection)
        try renewLease(mailbox, host, on: connection)
        let state = try OrganizationState.read(organization.name, on: connection)
        guard let key = deployment.keyring.dataKey(of: state) else { throw FieldsealError.keyRequired }
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
                   m.emailrouteraccessapproval = 1, m.emailaddress
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
        var (userName, password): (String?, Credential.SecretBytesBox?)
        var source = "none"
        switch try row.decodeIfPresent(3, as: Int.self) ?? 0 {
        case 0 where try row.decodeIfPresent(9, as: Bool.self) ?? false:
            userName = try row.decodeIfPresent(10)
            password = try open(.mailbox, mailbox, "password", key, state, on: connection)
            source = "mailbox"
        case 0:
            userName = try row.decodeIfPresent(13)
            guard try row.decodeIfPresent(14, as: Bool.self) ?? false, let id: UUID = try row.decodeIfPresent(12) else {
                throw FieldsealError(
                    .profileNotAssociated,
                    "The profile takes credentials by user or queue, and neither the mailbox nor its user or queue allows their use."
                )
            }
            let entity = try row.decodeIfPresent(11, as: String.self) == "queue" ? EntityDefinition.queue : .userSettings
            password = try open(entity, id, "emailpassword", key, state, on: connection)
            source = entity.logicalName
        case 1:
            userName = try row.decodeIfPresent(4)
            password = try open(
                .emailServerProfile, row.decode(0), "\(row.decode(2, as: String.self))password", key, state, on: connection)
            source = "profile"
        case 4: break
        default:
            throw FieldsealError(
                .notImplemented,
                "Credentials are retrieved by user or queue (0), from the profile (1), or not at all (4); no other way is there.")
        }
        guard source == "none" || userName?.isEmpty == false && password != nil else {
            throw FieldsealError(.profileNotAssociated, "There is no user name, or no password, to sign in with (\(source)).")
        }
        try SecurityEvent(
            .credentialReleased, .succeeded, keyVersion: state.keyVersion,
            details: "\(direction.rawValue), mailbox \(mailbox.text), from \(source), for \(server):\(port)"
        ).insert(for: organization, by: caller, under: deployment.kek, on: connection)
        return Credential(
            userName: userName, password: password, server: server, port: port, usesTLS: usesTLS,
            authentication: try row.decodeIfPresent(5) ?? 0, serverType: serverType == 1 ? 1 : 4)
    }

    private func open(
        _ entity: EntityDefinition,
        _ id: UUID,
        _ attribute: String,
        _ key: DataKey,
        _ state: OrganizationState,
        on connection: isolated PostgresConnection
    ) throws -> Credential.SecretBytesBox? {
        let rows = try connection.query(
            """
            SELECT \(quoteIdentifier(attribute)) FROM \(organization.qualified(entity.cellTable)) WHERE \(entity.idColumn) = $1 AND key_version = $2
            """, [.uuid(id), .int32(Int32(state.keyVersion))])
        guard let row = rows.first, !row.isNull(0) else { return nil }
        let cell = try row.decode(0, as: PostgresBytes.self).bytes
        return .init(
            secret: try key.open(
                cell, at: CellAddress(organization: organization.id, record: id, attribute: entity.cellName(attribute))))
    }
}

extension Character {
    /// Whether it may stand in a host's name or address.
    fileprivate var isHostCharacter: Bool { isASCII && (isLetter || isNumber || ".-:".contains(self)) }
}
