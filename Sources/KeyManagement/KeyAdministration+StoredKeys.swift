package import CellCrypto
import Foundation
import Model
import PostgresClient
import Tenancy

extension KeyAdministration {
    /// Returns a retired key, for a backup from its time. The security event is recorded before the key leaves the server.
    ///
    /// - Parameters:
    ///   - version: The key version. The version in force is accepted too.
    ///   - fingerprint: Selects one of several keys of that version; nil if the version has only one key.
    ///   - deliver: Receives the key. The key counts as copied only after this closure has returned.
    /// - Throws: ``FieldsealError``: `.objectDoesNotExist` when `config` does not have the key; `.invalidArgument` when several
    ///   match; `.encryptionTestFailed` when this service did not write the text.
    package func retrieveKey(
        version: Int, fingerprint: String?, deliver: @Sendable (OrganizationKeyText) throws -> Void = { _ in }
    ) async throws -> OrganizationKeyText {
        if version == state.keyVersion, fingerprint == nil || fingerprint == state.fingerprint, state.isKeyAttested {
            return try await retrieveDataEncryptionKey(deliver: deliver)
        }
        try await session.requireControl(
            of: .showKey, "show the retired key of version \(version)\(fingerprint.map { ", fingerprint \($0)" } ?? "")")
        return try await reading { state, connection in
            let keys = try storedKeys(version, fingerprint, on: connection)
            guard let stored = keys.first else {
                throw FieldsealError(
                    .objectDoesNotExist,
                    "config has no key of version \(version)\(fingerprint.map { " with the fingerprint \($0)" } ?? ""), or it was purged. "
                        + "See fieldseal key history.")
            }
            guard keys.count == 1 else {
                throw FieldsealError(
                    .invalidArgument,
                    "There are \(keys.count) keys of version \(version). Name one with --fingerprint: "
                        + keys.map(\.fingerprint).joined(separator: ", ") + ".")
            }
            let text = try opened(stored, in: state)
            guard stored.data(of: organization.id, under: deployment.kek)?.fingerprint == stored.fingerprint else {
                throw FieldsealError.notTheKeysText(version, stored.fingerprint)
            }
            try recordReading(of: stored, in: state, on: connection) { try deliver(text) }
            return text
        }
    }

    /// The keys of a version that were not purged.
    func storedKeys(
        _ version: Int, _ fingerprint: String?, on connection: isolated PostgresConnection
    ) throws -> [StoredKey] {
        try StoredKey.all(of: organization.id, on: connection).filter {
            $0.version == version && (fingerprint == nil || $0.fingerprint == fingerprint)
        }
    }

    /// Unwraps a key's text, if this service wrote it for that version and fingerprint.
    func opened(_ stored: StoredKey, in state: OrganizationState) throws -> OrganizationKeyText {
        guard try state.grants.holds(stored.grant, under: deployment.kek),
            let text = stored.text(of: organization.id, under: deployment.kek)
        else { throw FieldsealError.notTheKeysText(stored.version, stored.fingerprint) }
        return text
    }

    /// Reads a key in the state that the organization has now. If rights change before the reading is recorded, the reading begins
    /// again.
    ///
    /// - Throws: ``FieldsealError`` `.accessDenied` for a client that is no System Administrator any more.
    func reading(
        _ body: @Sendable (OrganizationState, isolated PostgresConnection) throws -> OrganizationKeyText
    ) async throws -> OrganizationKeyText {
        try await StaleSession.retrying { _ in
            try await deployment.pool.withConnection { connection in
                let state = try OrganizationState.read(organization.name, client: caller.clientID, in: deployment, on: connection)
                if caller.clientID != nil, try !state.rolesOfClient(under: deployment.kek).contains(.systemAdministrator) {
                    throw FieldsealError.mayNotAct
                }
                return try body(state, connection)
            }
        }
    }

    /// Records that a key leaves the server, hands it over, and then, if `isCopy` is true, marks that a copy exists.
    ///
    /// - Throws: ``StaleSession`` if rights changed since `state` was read. Then nothing was done.
    func recordReading(
        of stored: StoredKey, in state: OrganizationState, isCopy: Bool = true, on connection: isolated PostgresConnection,
        deliver: () throws -> Void
    ) throws {
        try connection.transaction {
            try session.record(
                SecurityEvent(.keyRead, .succeeded, keyVersion: stored.version, fingerprint: stored.fingerprint),
                ifUnchangedSince: state, on: connection)
        }
        try deliver()
        if isCopy { try markCopied(stored.version, stored.fingerprint, on: connection) }
    }

    /// Marks the key in force as copied, after the person who read it confirmed that.
    ///
    /// - Parameter fingerprint: The key that the person has read.
    /// - Returns: False if another key is in force meanwhile.
    package func confirmCopy(of fingerprint: String) async throws -> Bool {
        guard state.fingerprint == fingerprint else { return false }
        try await deployment.pool.withConnection { connection in
            try connection.transaction {
                try record(
                    SecurityEvent(.keyKept, .succeeded, keyVersion: state.keyVersion, fingerprint: fingerprint), on: connection)
                try markCopied(state.keyVersion, fingerprint, on: connection)
            }
        }
        return true
    }

    private func markCopied(_ version: Int, _ fingerprint: String, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            """
            UPDATE config.organization_key SET copied_on = coalesce(copied_on, now())
            WHERE organization_id = $1 AND key_version = $2 AND fingerprint = $3
            """, [.uuid(organization.id), .int32(Int32(version)), .text(fingerprint)])
    }
}

extension FieldsealError {
    /// The error if the text in `config` is not the organization key.
    static func notTheKeysText(_ version: Int, _ fingerprint: String) -> FieldsealError {
        FieldsealError(
            .encryptionTestFailed,
            "The text that config holds for key version \(version) is not the text of the key with the fingerprint \(fingerprint): "
                + "SQL changed it. It is not shown. Change the key (fieldseal key change), then copy the new one.")
    }
}
