public import Foundation
import Synchronization

/// The key-encryption key (KEK) of a deployment: 64 random bytes that never enter the database.
///
/// The KEK wraps each organization's key text and data key. A wrapped key is a cell that is bound to an address, so it does not
/// open in the place of another wrapped key.
///
/// During a rotation a program has two KEKs. One of them seals and makes tags. Both open cells and verify tags. ``member(_:)``
/// selects the one that seals.
public final class KeyEncryptionKey: Sendable {
    /// The length of a KEK in bytes.
    public static let length = AuthenticatedCipher.keyLength

    private let own: Material
    private let others: [Material]

    /// Identifies the KEK without revealing it: 16 hexadecimal digits.
    public var id: String { own.id }

    /// The ids of all known KEKs, this one first.
    public var ids: [String] { [own.id] + others.map(\.id) }

    /// - Parameter bytes: Exactly 64.
    public convenience init(_ bytes: SecretBytes) throws(CryptoLibraryError) {
        self.init(try Material(bytes), [])
    }

    private init(_ own: Material, _ others: [Material]) {
        self.own = own
        self.others = others
    }

    /// A copy of this KEK that also opens what `other` sealed, and accepts the tags of `other`.
    public func accepting(_ other: KeyEncryptionKey) -> KeyEncryptionKey {
        KeyEncryptionKey(own, others + ([other.own] + other.others).filter { !ids.contains($0.id) })
    }

    /// The KEK with an id, which also accepts what the other known KEKs sealed and tagged. Nil if the id is unknown.
    public func member(_ id: String) -> KeyEncryptionKey? {
        if own.id == id { return self }
        guard let chosen = others.first(where: { $0.id == id }) else { return nil }
        return KeyEncryptionKey(chosen, [own] + others.filter { $0.id != id })
    }

    /// The KEKs that are not retired. If this one is retired, another one seals and tags.
    ///
    /// - Parameter retired: Ids of KEKs.
    /// - Returns: Nil if all are retired.
    public func remaining(without retired: Set<String>) -> KeyEncryptionKey? {
        let left = ([own] + others).filter { !retired.contains($0.id) }
        return left.first.map { KeyEncryptionKey($0, Array(left.dropFirst())) }
    }

    /// Each of the known KEKs alone, this one first.
    public var each: [KeyEncryptionKey] { others.isEmpty ? [self] : ([own] + others).map { KeyEncryptionKey($0, []) } }

    /// Wraps an organization key's text.
    public func wrap(_ text: OrganizationKeyText, organization: UUID, keyVersion: UInt32) throws -> Cell {
        try text.withUTF8 { text throws(any Error) in try seal(text, at: .wrappedText(organization), keyVersion: keyVersion) }
    }

    /// Wraps a data key.
    public func wrap(_ dataKey: DataKey, organization: UUID, keyVersion: UInt32) throws -> Cell {
        try dataKey.withBytes { key throws(any Error) in try seal(key, at: .wrappedData(organization), keyVersion: keyVersion) }
    }

    /// Unwraps an organization key's text.
    ///
    /// - Throws: ``CellError`` when the cell was wrapped by another KEK, for another organization or key version.
    public func unwrapText(_ cell: [UInt8], organization: UUID, keyVersion: UInt32) throws -> OrganizationKeyText {
        OrganizationKeyText(normalized: try open(cell, at: .wrappedText(organization), keyVersion: keyVersion))
    }

    /// Unwraps a data key.
    ///
    /// - Throws: ``CellError`` when the cell was wrapped by another KEK, for another organization or key version.
    public func unwrapData(_ cell: [UInt8], organization: UUID, keyVersion: UInt32) throws -> DataKey {
        let bytes = try open(cell, at: .wrappedData(organization), keyVersion: keyVersion)
        guard bytes.count == DataKey.length else { throw CellError() }
        return try DataKey(bytes)
    }

    /// Seals a secret of `config` that is not an organization's key, such as a token-signing key.
    public func seal(_ secret: SecretBytes, at address: CellAddress) throws -> Cell {
        try secret.withBytes { secret throws(any Error) in try seal(secret, at: address, keyVersion: 1) }
    }

    /// Opens a secret that ``seal(_:at:)`` sealed.
    ///
    /// - Throws: ``CellError`` when the cell does not open at `address`.
    public func open(_ cell: [UInt8], at address: CellAddress) throws -> SecretBytes {
        try open(cell, at: address, keyVersion: 1)
    }

    /// A tag over the fields of a row of `config`: HMAC-SHA-512 under a subkey of the KEK, cut to 32 bytes.
    ///
    /// Fields are length-prefixed, so that different rows have different encodings.
    ///
    /// - Parameters:
    ///   - label: The kind of the row. Each label has its own subkey.
    ///   - fields: The contents of the row.
    public func tag(label: String, over fields: [[UInt8]]) throws -> [UInt8] {
        try CellCrypto.tag(under: own.subkey(label), over: fields)
    }

    /// Whether a stored tag matches these fields, under any of the known KEKs.
    public func accepts(_ stored: some ContiguousBytes, label: String, over fields: [[UInt8]]) throws -> Bool {
        try each.contains { constantTimeEqual(stored, try $0.tag(label: label, over: fields)) }
    }

    /// The subkey of a label, for data that must be verified after the KEK is retired. The KEK can't be computed from the subkey.
    public func tagKey(label: String) throws -> SecretBytes { try own.subkey(label) }

    /// Makes the same tag as ``tag(label:over:)``, with a subkey from ``tagKey(label:)`` and without the KEK.
    public static func tag(under tagKey: SecretBytes, over fields: [[UInt8]]) throws -> [UInt8] {
        try CellCrypto.tag(under: tagKey, over: fields)
    }

    private func seal(_ secret: UnsafeRawBufferPointer, at address: CellAddress, keyVersion: UInt32) throws -> Cell {
        try own.key.withCipher { try $0.seal(secret, at: address, keyVersion: keyVersion) }
    }

    private func open(_ cell: [UInt8], at address: CellAddress, keyVersion: UInt32) throws -> SecretBytes {
        guard try Cell(cell).keyVersion == keyVersion else { throw CellError() }
        for material in [own] + others {
            do {
                return try material.key.open(cell, at: address)
            } catch is CellError {
                continue
            }
        }
        throw CellError()
    }

    /// The bytes of one KEK, and the values derived from them.
    private final class Material: Sendable {
        private let bytes: SecretBytes
        let key: DataKey
        /// Subkeys for tags, by label.
        private let subkeys = Mutex<[String: SecretBytes]>([:])
        let id: String

        init(_ bytes: SecretBytes) throws(CryptoLibraryError) {
            precondition(bytes.count == KeyEncryptionKey.length)
            self.bytes = bytes
            key = try DataKey(bytes)
            id = try shortDigest(label: "fieldseal kek", of: bytes)
        }

        func subkey(_ label: String) throws -> SecretBytes {
            if let known = subkeys.withLock({ $0[label] }) { return known }
            let subkey = try tagSubkey(of: bytes, label: label)
            subkeys.withLock { $0[label] = subkey }
            return subkey
        }
    }
}

extension CellAddress {
    static func wrappedText(_ organization: UUID) -> CellAddress {
        CellAddress(organization: organization, record: organization, attribute: "organizationkey.text")
    }

    static func wrappedData(_ organization: UUID) -> CellAddress {
        CellAddress(organization: organization, record: organization, attribute: "organizationkey.data")
    }
}
