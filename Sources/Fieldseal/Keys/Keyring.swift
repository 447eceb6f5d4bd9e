import CellCrypto
import Foundation
import Synchronization

/// Data keys that were unwrapped already, so that a request costs no unwrapping.
///
/// An entry is found by organization, version and fingerprint as the database names them at that moment: the keyring can
/// never answer with a key that is not the current one.
final class Keyring: Sendable {
    private struct Name: Hashable {
        let organization: UUID
        let version: Int
        let fingerprint: String
    }

    private let kek: KeyEncryptionKey
    private let keys = Mutex<[Name: DataKey]>([:])

    init(kek: KeyEncryptionKey) {
        self.kek = kek
    }

    /// The organization's data key.
    ///
    /// - Throws: ``FieldsealError/keyRequired``; `.keySourceMissing` when `config` has the key, but wrapped under a key-encryption
    ///   key that this server does not have.
    func requiredKey(of state: OrganizationState) throws(FieldsealError) -> DataKey {
        if let key = dataKey(of: state) { return key }
        guard state.isKeyAttested else { throw .otherKeyInForce(state) }
        guard let wrappedUnder = state.kekID, wrappedUnder != kek.id else { throw .keyRequired }
        throw .keyEncryptionKeyMissing(wrappedUnder, given: kek.id)
    }

    /// The organization's data key, or nil when what `config` holds is not the key that opens the key check, or the schema names
    /// another key than the attested one.
    func dataKey(of state: OrganizationState) -> DataKey? {
        let name = Name(organization: state.organization.id, version: state.keyVersion, fingerprint: state.fingerprint)
        guard state.isKeyAttested, let wrapped = state.wrappedData else { return nil }
        if let key = keys.withLock({ $0[name] }) { return key }
        guard
            let key = try? kek.unwrapData(wrapped, organization: state.organization.id, keyVersion: UInt32(state.keyVersion)),
            key.fingerprint == state.fingerprint,
            KeyCheck.isOpened(state.keyCheck, by: key, organization: state.organization.id)
        else { return nil }
        keys.withLock { keys in
            // Of each organization the current key is enough.
            keys = keys.filter { $0.key.organization != state.organization.id }
            keys[name] = key
        }
        return key
    }
}
