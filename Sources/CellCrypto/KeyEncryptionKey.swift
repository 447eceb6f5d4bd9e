public import Foundation
import Synchronization

/// The key-encryption key (KEK) of a deployment: 64 random bytes that never enter the database.
///
/// It wraps each organization's key text and data key; a wrapped key is a cell whose address says what it wraps.
public final class KeyEncryptionKey: Sendable {
    /// Length in bytes.
    public static let length = AuthenticatedCipher.keyLength

    private let bytes: SecretBytes
    private let key: DataKey
    /// The subkeys of tags by their labels, of which there are few.
    private let subkeys = Mutex<[String: SecretBytes]>([:])
    /// Names the KEK without giving it away: 16 hex digits.
    public let id: String

    /// - Parameter bytes: Exactly 64.
    public init(_ bytes: SecretBytes) throws(CryptoLibraryError) {
        precondition(bytes.count == Self.length)
        self.bytes = bytes
        key = try DataKey(bytes)
        id = try shortDigest(label: "fieldseal kek", of: bytes)
    }

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

    /// Seals another secret of `config`, such as a token-signing key, under the KEK.
    public func seal(_ secret: SecretBytes, at address: CellAddress) throws -> Cell {
        try secret.withBytes { secret throws(any Error) in try seal(secret, at: address, keyVersion: 1) }
    }

    /// Opens a secret that ``seal(_:at:)`` sealed.
    ///
    /// - Throws: ``CellError`` when it does not open.
    public func open(_ cell: [UInt8], at address: CellAddress) throws -> SecretBytes {
        try open(cell, at: address, keyVersion: 1)
    }

    /// A tag over the fields of a row of `config`: HMAC-SHA-512 under a subkey of the KEK, cut to 32 bytes.
    ///
    /// Fields are length-prefixed, so that no two rows share an encoding.
    ///
    /// - Parameters:
    ///   - label: What kind of row it is; each label has its own subkey.
    ///   - fields: What the row grants, to whom, where.
    public func tag(label: String, over fields: [[UInt8]]) throws -> [UInt8] {
        let message = fields.flatMap { field in
            withUnsafeBytes(of: UInt64(field.count).bigEndian) { Array($0) } + field
        }
        let mac = try subkey(label).withBytes { subkey throws(any Error) in
            try message.withUnsafeBytes { try hmacSHA512(key: subkey, $0) }
        }
        return Array(mac.prefix(AuthenticatedCipher.tagLength))
    }

    private func subkey(_ label: String) throws -> SecretBytes {
        if let known = subkeys.withLock({ $0[label] }) { return known }
        let subkey = try bytes.withBytes { kek throws(any Error) in
            try Array("fieldseal tag \(label)".utf8).withUnsafeBytes { try hmacSHA512(key: kek, $0) }
        }
        let kept = subkey.withUnsafeBytes(SecretBytes.init(copying:))
        subkeys.withLock { $0[label] = kept }
        return kept
    }

    private func seal(_ secret: UnsafeRawBufferPointer, at address: CellAddress, keyVersion: UInt32) throws -> Cell {
        try key.withCipher { try $0.seal(secret, at: address, keyVersion: keyVersion) }
    }

    private func open(_ cell: [UInt8], at address: CellAddress, keyVersion: UInt32) throws -> SecretBytes {
        guard try Cell(cell).keyVersion == keyVersion else { throw CellError() }
        return try key.open(cell, at: address)
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
