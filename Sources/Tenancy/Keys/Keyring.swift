package import CellCrypto
import Foundation
package import Model
import Synchronization

/// A cache of unwrapped data keys, so that requests need not unwrap them.
///
/// An entry is found by the organization, version and fingerprint that the database names at that moment. So the keyring returns
/// only the current key.
package final class Keyring: Sendable {
    private struct Entry {
        let version: Int
        let fingerprint: String
        let key: DataKey
    }

    private let kek: KeyEncryptionKey
    /// One current key for each organization is enough. Keys that were not used recently are removed.
    private let keys = Mutex(RecentValues<UUID, Entry>(limit: 1_000))

    init(kek: KeyEncryptionKey) {
        self.kek = kek
    }

    /// The organization's data key.
    ///
    /// - Throws: ``FieldsealError/keyRequired``; `.keySourceMissing` when `config` has the key, wrapped under a key-encryption key
    ///   that this server does not have.
    package func requiredKey(of state: OrganizationState) throws(FieldsealError) -> DataKey {
        if let key = dataKey(of: state) { return key }
        guard state.isKeyAttested else { throw .otherKeyInForce(state) }
        guard let wrappedUnder = state.kekID, kek.member(wrappedUnder) == nil else { throw .keyRequired }
        throw .keyEncryptionKeyMissing(wrappedUnder, given: kek.id)
    }

    /// The organization's data key. Nil if `config` has no key that opens the key check, or if the schema names another key than
    /// the attested state.
    package func dataKey(of state: OrganizationState) -> DataKey? {
        guard state.isKeyAttested, let wrapped = state.wrappedData else { return nil }
        let known = keys.withLock { $0.value(of: state.organization.id) }
        if let known, (known.version, known.fingerprint) == (state.keyVersion, state.fingerprint) { return known.key }
        guard
            let key = try? kek.unwrapData(wrapped, organization: state.organization.id, keyVersion: UInt32(state.keyVersion)),
            key.fingerprint == state.fingerprint,
            KeyCheck.isOpened(state.keyCheck, by: key, organization: state.organization.id)
        else { return nil }
        keys.withLock {
            $0.keep(Entry(version: state.keyVersion, fingerprint: state.fingerprint, key: key), for: state.organization.id)
        }
        return key
    }
}
