import Authentication
package import CellCrypto
import Foundation
import Model
import PostgresClient
package import Tenancy

/// Replaces the key-encryption key of a deployment. Each organization is one transaction, and servers continue to run.
///
/// During the rotation every server has both key-encryption keys. After an interruption the next run continues with the
/// organizations that are left.
package struct KeyEncryptionKeyRotation: Sendable {
    private let registry: OrganizationRegistry
    private let deployment: Deployment
    private let new: KeyEncryptionKey

    /// - Parameters:
    ///   - registry: Connects as a role that may act as the owner.
    ///   - deployment: Has the old key-encryption key.
    ///   - new: The new key-encryption key.
    package init(_ registry: OrganizationRegistry, _ deployment: Deployment, to new: KeyEncryptionKey) {
        self.registry = registry
        self.deployment = deployment
        self.new = new.accepting(deployment.kek)
    }

    /// The result for an organization.
    package struct Outcome: Sendable {
        package let organization: String
        /// How many keys, secrets and tags were made anew; nil after a failure.
        package let count: Int?
        /// The reason for a failure; nil without one.
        package let problem: String?
    }

    /// Seals and tags everything under the new key-encryption key.
    ///
    /// - Parameter report: Called after each organization.
    /// - Returns: Whether everything is done. The deployment's own secrets are moved last, and only if no organization failed.
    /// - Throws: ``FieldsealError`` when a running server does not have the new key-encryption key.
    package func run(by caller: Caller, report: (Outcome) -> Void) async throws -> Bool {
        try await requireUnused()
        try await requireServers()
        // Each round finds organizations that were created during the round before it, and rows that servers wrote during that
        // time.
        for round in 1...Self.rounds {
            var (count, isWhole) = (0, true)
            try await moveAll(by: caller) { outcome in
                isWhole = isWhole && outcome.problem == nil
                count += outcome.count ?? 0
                if round == 1 || outcome.count ?? 1 > 0 { report(outcome) }
            }
            guard isWhole else { return false }
            if round == 1 { count += try await moveDeployment(by: caller) }
            if count == 0 { return true }
        }
        return true
    }

    private static let rounds = 4
    /// How many organizations are moved at a time.
    private static let parallelism = 4

    /// Retires the old key-encryption keys. From now on no program accepts these keys.
    ///
    /// - Returns: The ids of the retired keys.
    /// - Throws: ``FieldsealError`` when something is still sealed or tagged under one of the old keys. ``run(by:report:)`` seals
    ///   and tags it under the new key.
    package func retire(by caller: Caller) async throws -> [String] {
        var failed: Outcome?
        try await moveAll(by: caller, isSweep: true) { if $0.problem != nil { failed = $0 } }
        if let failed {
            throw FieldsealError(
                .encryption,
                "\(failed.organization) is not completely under the new key-encryption key, so nothing was retired: "
                    + (failed.problem ?? ""))
        }
        let mailServers = try await KeyEncryptionKeyStatus.mailServers(conninfo: deployment.conninfo)
        return try await registry.asOwner { connection in
            _ = try moveSigningKeys(on: connection)
            let status = try KeyEncryptionKeyStatus.read(on: connection)
            let others = status.replaced.filter { !$0.isRetired && $0.id != new.id }.map(\.id)
            if let left = (status.uses + mailServers).first(where: { others.contains($0.kekID) }) {
                throw FieldsealError(
                    .encryption,
                    "\(left.count) \(left.what) are still under the key-encryption key \(left.kekID), so nothing was retired. Run fieldseal "
                        + "kek rotate first.")
            }
            _ = try connection.query(
                "UPDATE config.replaced_kek SET retired_on = now(), retired_by = $2 WHERE kek_id = ANY ($1)",
                [.texts(others), .text(caller.actor)])
            return others
        }
    }

    private func requireUnused() async throws {
        let replaced = try await registry.asOwner { try ReplacedKeyEncryptionKey.all(on: $0) }
        guard replaced.contains(where: { $0.id == new.id }) else { return }
        throw FieldsealError(
            .encryption,
            "The key-encryption key \(new.id) was replaced before, and can't be used again. Make another key with fieldseal kek "
                + "create."
        )
    }

    private func requireServers() async throws {
        let without = try await registry.asOwner { try ServerPresence.running(on: $0) }.filter { !$0.kekIDs.contains(new.id) }
        guard let first = without.first else { return }
        throw FieldsealError(
            .encryption,
            "A server on \(first.host) does not know the key-encryption key \(new.id) and could not open what is sealed under it"
                + (without.count == 1 ? "" : ", and \(without.count - 1) others don't either")
                + ". Name both keys in the settings of each server, restart it, and try again. A server that was killed counts for "
                + "\(ServerPresence.absenceSeconds) seconds.")
    }

    /// Moves all organizations to the new key-encryption key, several at a time.
    private func moveAll(by caller: Caller, isSweep: Bool = false, report: (Outcome) -> Void) async throws {
        var rest = try await OrganizationEntry.list(deployment)[...]
        await withTaskGroup(of: Outcome.self) { group in
            func add() {
                guard let entry = rest.popFirst() else { return }
                group.addTask { await move(entry.organization, by: caller, isSweep: isSweep) }
            }
            for _ in 0..<Self.parallelism { add() }
            while let outcome = await group.next() {
                report(outcome)
                add()
            }
        }
    }

    /// Moves one organization to the new key-encryption key, in one transaction.
    ///
    /// - Parameter isSweep: Whether to refuse an organization that is not yet under the new key-encryption key.
    private func move(_ organization: Organization, by caller: Caller, isSweep: Bool = false) async -> Outcome {
        do {
            // Each event that is not linked to the chain yet has a tag. These events are linked first, so that their tags need not
            // be moved.
            try await Session.begin(deployment, organization: organization.name, caller: caller).chainPendingEvents()
            let count = try await registry.asOwner { connection in
                try AttestedState.change(of: organization, under: new, on: connection) { change in
                    let former = change.kek.id
                    if isSweep, former != new.id {
                        throw FieldsealError(.encryption, "It is still under \(former). Run fieldseal kek rotate first.")
                    }
                    var rewrap = try OrganizationRewrap(change, under: new)
                    let grants = try rewrap.run(on: connection)
                    guard rewrap.count > 0 || former != new.id else { return 0 }
                    change.move(under: new, grants)
                    if former != new.id {
                        try change.append(
                            SecurityEvent(.keyEncryptionKeyReplaced, .succeeded, details: "\(former) by \(new.id)"), by: caller,
                            on: connection)
                    }
                    return rewrap.count
                }
            }
            return Outcome(organization: organization.name, count: count, problem: nil)
        } catch {
            return Outcome(
                organization: organization.name, count: nil, problem: (error as? FieldsealError)?.message ?? "\(error)")
        }
    }

    /// Moves the deployment's own secrets: the token-signing keys, and the archive keys of replaced key-encryption keys.
    ///
    /// - Returns: How many signing keys were sealed anew.
    private func moveDeployment(by caller: Caller) async throws -> Int {
        let replaced = Array(new.each.dropFirst())
        return try await registry.asOwner { connection in
            let count = try moveSigningKeys(on: connection)
            try ReplacedKeyEncryptionKey.record(replaced, by: new, caller, on: connection)
            return count
        }
    }

    /// Seals the token-signing keys whose rows name another key-encryption key. SQL may have written that name.
    ///
    /// - Returns: How many of these keys there were.
    private func moveSigningKeys(on connection: isolated PostgresConnection) throws -> Int {
        let alone = new.each[0]
        // Under the same lock, a server seals a new signing key under the key-encryption key of the newest one.
        try connection.execute("LOCK TABLE config.signing_key IN SHARE ROW EXCLUSIVE MODE")
        let rows = try connection.query(
            "SELECT signing_key_id, private_key, retired_on IS NULL FROM config.signing_key WHERE kek_id <> $1", [.text(new.id)])
        for row in rows {
            let id: UUID = try row.decode(0)
            guard let secret = try? new.open(row.decode(1, as: PostgresBytes.self).bytes, at: .signingKey(id)) else {
                if try row.decode(2, as: Bool.self) { try TokenIssuer.addKey(under: alone, on: connection) }
                // SQL wrote this key. No server can open this key, so no token that servers accept was signed with it.
                _ = try connection.query("DELETE FROM config.signing_key WHERE signing_key_id = $1", [.uuid(id)])
                continue
            }
            _ = try connection.query(
                "UPDATE config.signing_key SET private_key = $2, kek_id = $3 WHERE signing_key_id = $1",
                [.uuid(id), .bytes(try alone.seal(secret, at: .signingKey(id)).bytes), .text(alone.id)])
        }
        return rows.count
    }
}
