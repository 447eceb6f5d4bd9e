package import CellCrypto
import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

extension KeyAdministration {
    /// IsDataEncryptionActive: whether `config` holds the key that opens the organization's cells.
    package func isDataEncryptionActive() -> Bool {
        session.isEncryptionActive
    }

    /// RetrieveDataEncryptionKey: returns the organization key. The security event is recorded before the key leaves the server.
    ///
    /// - Parameters:
    ///   - isCopy: Whether reading the key counts as making a backup copy. False for a page that shows the key: there only
    ///     ``confirmCopy(of:)`` marks the key as copied.
    ///   - deliver: Receives the key. The key counts as copied only after this closure has returned.
    /// - Throws: ``FieldsealError`` `.encryptionTestFailed` when the text in `config` is not the key in force.
    package func retrieveDataEncryptionKey(
        isCopy: Bool = true, deliver: @Sendable (OrganizationKeyText) throws -> Void = { _ in }
    ) async throws -> OrganizationKeyText {
        try await session.requireControl(
            of: .showKey, "show the key of version \(state.keyVersion), fingerprint \(state.fingerprint)")
        return try await reading { state, connection in
            _ = try deployment.keyring.requiredKey(of: state)
            guard let stored = try storedKeys(state.keyVersion, state.fingerprint, on: connection).first else {
                throw FieldsealError.keyRequired
            }
            let text = try opened(stored, in: state)
            let key = try DataKey(derivedFrom: text, salt: state.salt, iterations: state.iterations)
            guard key.fingerprint == state.fingerprint, KeyCheck.isOpened(state.keyCheck, by: key, organization: organization.id)
            else { throw FieldsealError.notTheKeysText(state.keyVersion, state.fingerprint) }
            try recordReading(of: stored, in: state, isCopy: isCopy, on: connection) { try deliver(text) }
            return text
        }
    }

    /// SetDataEncryptionKey: changes the key and encrypts every cell again, or activates an organization that needs its key.
    ///
    /// The work continues when the caller's task is cancelled, so a client that disconnects does not stop a change.
    ///
    /// - Parameters:
    ///   - text: The new key, or the key to activate with.
    ///   - change: False to activate.
    package func setDataEncryptionKey(_ text: String, change: Bool) async throws {
        try await recordingRefusal(change ? .change : .activate) {
            if text.isEmpty {
                throw FieldsealError(
                    .keyValidation, "The key is empty. Encryption can't be turned off; give a new key to change it.")
            }
        }
        try await Task {
            if change { _ = try await changeKey(to: text) } else { try await activate(with: [text]) }
        }
        .value
    }

    /// Activates with a key that was pasted from a letter or a word processor. Also tries variants of the text: without white
    /// space, with plain quotes and dashes, without surrounding quotes, and without the marks of a recovery sheet. A generated
    /// key may be typed without hyphens and in lower case. All variants count as one attempt.
    package func activate(pasted text: String) async throws {
        try await activate(with: try Self.variants(of: text))
    }

    /// The variants of a pasted or typed text, first the text itself; at most eight.
    static func variants(of text: String) throws -> [String] {
        let pretty: [Character: String] = [
            "\u{2018}": "'", "\u{2019}": "'", "\u{201C}": "\"", "\u{201D}": "\"", "\u{201E}": "\"", "\u{2010}": "-",
            "\u{2011}": "-",
            "\u{2012}": "-", "\u{2013}": "-", "\u{2014}": "-", "\u{2212}": "-", "\u{2026}": "...", "\u{200B}": "", "\u{FEFF}": "",
        ]
        let joined = text.filter { !$0.isWhitespace }
        let plain = joined.map { pretty[$0] ?? String($0) }.joined()
        let unquoted =
            plain.count > 2 && plain.first == plain.last && "\"'".contains(plain.first ?? " ")
            ? String(plain.dropFirst().dropLast()) : plain
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        var variants: [String] = []
        let ofSheet = try OrganizationKeyText.withoutSheetMarks(text.map { pretty[$0] ?? String($0) }.joined())
        let generated = [unquoted, ofSheet].map { OrganizationKeyText.generatedForm(of: $0) ?? "" }
        for variant in [text, trimmed, joined, plain, unquoted, ofSheet] + generated
        where !variant.isEmpty && !variants.contains(variant) {
            variants.append(variant)
        }
        return variants
    }

    // MARK: Activation

    private func activate(with texts: [String]) async throws {
        try await session.requireControl(of: .setKey, "activate the key of version \(state.keyVersion)", secret: texts.first)
        let network = caller.address ?? caller.actor
        let failures = AttemptLimiter(
            .account("activate:\(organization.id.text)"), from: network, policy: deployment.policy)
        let state = try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            try requireInactive(state)
            _ = try failures.begin(on: connection)
            return state
        }
        let right: (text: OrganizationKeyText, data: DataKey)?
        do {
            // No connection is held while keys are derived, because each derivation takes some tenths of a second.
            right = try await deployment.hashing.compute(for: .network(IPAddress.network(of: network))) {
                for text in texts {
                    let key = OrganizationKeyText(text)
                    let dataKey = try DataKey(derivedFrom: key, salt: state.salt, iterations: state.iterations)
                    if KeyCheck.isOpened(state.keyCheck, by: dataKey, organization: state.organization.id) { return (key, dataKey) }
                }
                return nil
            }
        } catch {
            try? await deployment.pool.withConnection { try failures.withdraw(on: $0) }
            throw error
        }
        guard let (key, dataKey) = right else {
            try await record(
                SecurityEvent(.keyActivated, .failed, keyVersion: state.keyVersion, fingerprint: state.fingerprint))
            throw FieldsealError(
                .restoreCannotDecrypt,
                "This key does not open the organization's cells. Wanted is the key of version \(state.keyVersion) with the "
                    + "fingerprint \(state.fingerprint), set on \(state.changedOn.ISO8601Format()).")
        }
        try await deployment.pool.withConnection { connection in
            try connection.transaction {
                try KeySetLock.take(organization, on: connection)
                // Another session may have set the key, or restored the schema, while the key was derived.
                let now = try OrganizationState.read(organization.name, in: deployment, on: connection)
                try requireInactive(now)
                guard now.keyCheck == state.keyCheck, now.keyVersion == state.keyVersion, now.fingerprint == state.fingerprint
                else {
                    throw FieldsealError(
                        .setIsAlreadyRunning, "The organization's key was changed while the given key was checked. Try again.",
                        retryAfter: 1)
                }
                try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                    _ = try change.grant(try store(key, dataKey, of: now, on: connection))
                    _ = try change.grant(now.keyDerivation)
                    try change.append(
                        SecurityEvent(.keyActivated, .succeeded, keyVersion: now.keyVersion, fingerprint: now.fingerprint),
                        by: caller, on: connection)
                }
                try failures.succeed(on: connection)
            }
        }
    }

    private func requireInactive(_ state: OrganizationState) throws(FieldsealError) {
        guard deployment.keyring.dataKey(of: state) == nil else {
            throw FieldsealError(
                .isActiveCannotRestore,
                "The organization's encryption is active, so there is nothing to activate. "
                    + "To set another key, send ChangeEncryptionKey true.")
        }
        guard state.isKeyAttested else { throw FieldsealError.otherKeyInForce(state) }
    }

    /// Stores the key in `config`.
    ///
    /// - Returns: The grant that attests the key.
    private func store(
        _ text: OrganizationKeyText,
        _ dataKey: DataKey,
        of state: OrganizationState,
        on connection: isolated PostgresConnection
    ) throws -> Grant {
        let name: [PostgresParameter] = [.uuid(organization.id), .int32(Int32(state.keyVersion)), .text(state.fingerprint)]
        _ = try connection.query(
            """
            UPDATE config.organization_key SET retired_on = now()
            WHERE organization_id = $1 AND retired_on IS NULL AND (key_version, fingerprint) <> ($2, $3)
            """, name)
        let changeID: UUID = try connection.query(
            "SELECT rotation_id FROM \(organization.qualified("encryption"))")[0].decode(0)
        let row = try OrganizationKeyRow(
            text, dataKey, version: state.keyVersion, of: organization.id, changeID: changeID, origin: .activated,
            under: session.kek, by: caller)
        let there = try connection.query(
            "SELECT FROM config.organization_key WHERE (organization_id, key_version, fingerprint) = ($1, $2, $3)", name)
        if there.isEmpty {
            try row.insert(on: connection)
        } else {
            // The row exists, but its wrapped key does not open, because the key-encryption key was lost. So the key is wrapped
            // again under the present key-encryption key.
            try row.key.replace(in: organization.id, under: session.kek, on: connection)
        }
        return row.grant
    }
}
