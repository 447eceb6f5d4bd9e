import CellCrypto
import Foundation
import JSON
import Model
import PostgresClient
import RouterProtocol
import Tenancy

// Exchanges refresh tokens and application secrets for access tokens.
extension MailboxLeases {
    /// Replaces a stored secret by an access token, if the mail server's tokens come from an authorization server.
    func authorized(_ released: ReleasedCredential) async throws -> Credential {
        let tokens = mail.tokens
        var credential = released.credential
        guard credential.authentication == AuthenticationProtocol.oauth.rawValue, let source = released.source,
            let sealed = credential.password,
            let application = tokens.application(for: credential.server)
        else { return credential }
        if let token = tokens.token(for: source, sealed, of: application, tenant: released.tenant) {
            credential.password = token
            return credential
        }
        credential.password = try await exchanged(source, application, released.tenant)
        return credential
    }

    func current(_ source: MailOAuthTokens.Source, on connection: isolated PostgresConnection) throws -> SecretBytes {
        for _ in 0..<Self.keyAttempts {
            let key = try currentKey(on: connection)
            if let sealed = try open(source, key, on: connection)?.secret { return sealed }
            // If the cell is missing, it may have been sealed under a newer key meanwhile.
            guard try currentKey(on: connection).version != key.version else { break }
        }
        throw FieldsealError(.profileNotAssociated, "There is no password any more to sign in with (\(source.entity)).")
    }

    /// How many attempts are made to read or store a secret. An attempt fails only when another key change was committed meanwhile.
    private static let keyAttempts = 16

    func currentKey(on connection: isolated PostgresConnection) throws -> Session.CurrentKey {
        let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
        let key = try deployment.keyring.requiredKey(of: state)
        return Session.CurrentKey(version: state.keyVersion, key: key)
    }

    /// Stores the successor of a refresh token, unless another password was set meanwhile.
    func replace(
        _ old: SecretBytes, with new: SecretBytes, in source: MailOAuthTokens.Source, on connection: isolated PostgresConnection
    ) throws {
        guard let entity = EntityCatalog.entity(source.entity) else { return }
        let attribute = quoteIdentifier(source.attribute)
        var attempts = 0
        while true {
            let key = try currentKey(on: connection)
            do {
                let isSettled = try connection.transaction {
                    guard let there = try open(source, key, on: connection) else {
                        return try currentKey(on: connection).version == key.version
                    }
                    guard there.secret.isEqual(to: old) else { return true }
                    let cell = try new.withBytes { bytes in
                        try key.seal(String(decoding: bytes, as: UTF8.self), entity, source.attribute, source.record, organization)
                    }
                    // Names the actor for the audit. The record itself does not change.
                    _ = try connection.pipeline([
                        caller.auditSettings,
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
                                by: caller), organization, session.kek),
                    ])
                    return true
                }
                if isSettled || attempts >= Self.keyAttempts { return }
                attempts += 1
            } catch let error as PostgresError where error.isStaleKey && attempts < Self.keyAttempts {
                // The key was changed meanwhile.
                attempts += 1
            }
        }
    }

    private func open(_ source: MailOAuthTokens.Source, _ key: Session.CurrentKey, on connection: isolated PostgresConnection)
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
