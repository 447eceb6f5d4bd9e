import COpenSSL
import Synchronization

/// The 64-byte key that seals an organization's cells: the first 32 bytes authenticate, the last 32 encrypt.
///
/// A data key can't be printed, compared with `==` or encoded.
public final class DataKey: Sendable {
    /// The length of a data key in bytes.
    public static let length = AuthenticatedCipher.keyLength

    private let bytes: SecretBytes
    private let ciphers = Mutex(CipherStock())
    /// Identifies the key without revealing it: 16 hexadecimal digits (`docs/cell-format.md`, Fingerprint).
    public let fingerprint: String

    /// - Parameter bytes: Exactly 64.
    public init(_ bytes: SecretBytes) throws(CryptoLibraryError) {
        precondition(bytes.count == Self.length)
        self.bytes = bytes
        fingerprint = try shortDigest(label: "fieldseal fingerprint", of: bytes)
    }

    /// Passes a cipher to a closure. No other caller gets the same cipher until the closure returns.
    public func withCipher<Result>(_ body: (CellCipher) throws -> Result) throws -> Result {
        let cipher = try ciphers.withLock { $0.take() } ?? CellCipher(key: bytes)
        defer { ciphers.withLock { $0.put(cipher) } }
        return try body(cipher)
    }

    /// A cipher for the exclusive use of one thread, such as a worker of a key change.
    public func makeCipher() throws(CryptoLibraryError) -> CellCipher { try CellCipher(key: bytes) }

    /// A tag over fields. Only a holder of the key can make or check it. Fields are length-prefixed, so that different lists have
    /// different encodings.
    ///
    /// - Parameter label: The kind of the tagged data. Each label has its own subkey.
    public func tag(label: String, over fields: [[UInt8]]) throws -> [UInt8] {
        try CellCrypto.tag(under: tagSubkey(of: bytes, label: label), over: fields)
    }

    /// Passes the key's bytes to a closure, for wrapping them.
    func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try bytes.withBytes(body)
    }

    /// Seals a text.
    public func seal(_ text: String, at address: CellAddress, keyVersion: UInt32) throws -> Cell {
        var text = text
        return try text.withUTF8 { utf8 in
            try withCipher { try $0.seal(UnsafeRawBufferPointer(utf8), at: address, keyVersion: keyVersion) }
        }
    }

    /// Opens a cell that holds a text.
    ///
    /// - Throws: ``CellError`` when the cell does not open at `address`.
    public func open(_ cell: [UInt8], at address: CellAddress) throws -> SecretBytes {
        try cell.withUnsafeBytes { bytes in
            try withCipher { try $0.open(bytes, at: address) { SecretBytes(copying: $0) } }
        }
    }
}

/// Idle ciphers of one key. Their number is at most the number of threads that used the key at the same time.
private struct CipherStock: @unchecked Sendable {
    // Sendable: only this value refers to an idle cipher. `take()` removes the cipher, and the caller holds the lock of
    // ``DataKey``.
    private var idle: [CellCipher] = []

    mutating func take() -> CellCipher? { idle.popLast() }
    mutating func put(_ cipher: CellCipher) { idle.append(cipher) }
}

extension DataKey {
    /// The limits of an iteration count from a database, so that a hostile import can't cause endless work.
    public static let iterationBounds = 1...10_000_000
    /// The default number of PBKDF2 iterations of a new key (OWASP's figure for HMAC-SHA-512).
    public static let defaultIterations = 210_000
    /// Length of a salt in bytes.
    public static let saltLength = 32

    /// Derives a data key from an organization key: PBKDF2-HMAC-SHA-512 (RFC 8018 section 5.2, NIST SP 800-132).
    ///
    /// - Parameters:
    ///   - text: The organization key.
    ///   - salt: 32 random bytes, stored with the organization.
    ///   - iterations: Within ``iterationBounds``; anything else throws ``KeyDerivationError``.
    public convenience init(derivedFrom text: OrganizationKeyText, salt: [UInt8], iterations: Int) throws {
        guard Self.iterationBounds.contains(iterations), salt.count == Self.saltLength else { throw KeyDerivationError() }
        let derived = try text.withUTF8 { password throws(CryptoLibraryError) in
            try SecretBytes(count: Self.length) { output throws(CryptoLibraryError) in
                try check(
                    PKCS5_PBKDF2_HMAC(
                        password.bindMemory(to: CChar.self).baseAddress, Int32(password.count),
                        salt, Int32(salt.count), Int32(iterations),
                        try check(Algorithm.sha512, "EVP_MD_fetch"),
                        Int32(output.count), output.bindMemory(to: UInt8.self).baseAddress
                    ),
                    "PKCS5_PBKDF2_HMAC"
                )
            }
        }
        try self.init(derived)
    }
}
