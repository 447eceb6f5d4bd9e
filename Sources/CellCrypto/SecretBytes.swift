import COpenSSL
public import Foundation

/// Bytes that must not outlive their use: a key, or a text that a key is derived from.
///
/// The memory is in ``SecretMemory``, and is wiped with `OPENSSL_cleanse` when the last reference goes. The type is neither printable, comparable
/// nor encodable; its bytes are reached only inside ``withBytes(_:)``.
public final class SecretBytes: @unchecked Sendable, CustomStringConvertible, CustomReflectable {
    // Sendable: `base` is written only before `init` returns; afterwards every access is a read.
    private let base: UnsafeMutableRawPointer
    /// The number of bytes.
    public let count: Int

    /// Takes `count` bytes that `fill` writes.
    ///
    /// - Parameter count: At least 0.
    public init<Failure: Error>(
        count: Int,
        filledBy fill: (UnsafeMutableRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        base = SecretMemory.allocate(count)
        self.count = count
        try fill(UnsafeMutableRawBufferPointer(start: base, count: count))
    }

    /// Copies the bytes; wiping the original is the caller's part.
    public convenience init(copying bytes: UnsafeRawBufferPointer) {
        self.init(count: bytes.count) { $0.copyMemory(from: bytes) }
    }

    /// `count` bytes from libcrypto's random generator for secrets.
    public static func random(count: Int) throws(CryptoLibraryError) -> SecretBytes {
        try SecretBytes(count: count) { buffer throws(CryptoLibraryError) in
            try check(RAND_priv_bytes(buffer.bindMemory(to: UInt8.self).baseAddress, Int32(count)), "RAND_priv_bytes")
        }
    }

    deinit { SecretMemory.free(base, count) }

    /// Lends the bytes for the time of the call.
    public func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(start: base, count: count))
    }

    /// Whether both hold the same bytes, in time that depends on the length alone.
    public func isEqual(to other: SecretBytes) -> Bool {
        count == other.count && CRYPTO_memcmp(base, other.base, count) == 0
    }

    /// Says nothing of the bytes.
    public var description: String { "SecretBytes(****)" }

    /// Shows nothing of the bytes to a debugger's or a logger's reflection.
    public var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// Whether two byte strings are equal, in time that depends on the length of the shorter one alone.
public func constantTimeEqual(_ left: some ContiguousBytes, _ right: some ContiguousBytes) -> Bool {
    left.withUnsafeBytes { left in
        right.withUnsafeBytes { right in
            left.count == right.count
                && (left.count == 0 || CRYPTO_memcmp(left.baseAddress, right.baseAddress, left.count) == 0)
        }
    }
}

/// Overwrites a buffer that held a secret, in a way that no optimizer removes.
public func secureWipe(_ buffer: UnsafeMutableRawBufferPointer) {
    if let base = buffer.baseAddress { OPENSSL_cleanse(base, buffer.count) }
}
