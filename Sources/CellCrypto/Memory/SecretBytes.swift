import COpenSSL
public import Foundation

/// Bytes that must be wiped after use: a key, or a text that a key is derived from.
///
/// The memory is in ``SecretMemory``. `OPENSSL_cleanse` wipes the memory when the last reference is released. The type is not
/// printable, comparable or encodable. The bytes are accessible only inside ``withBytes(_:)``.
public final class SecretBytes: @unchecked Sendable, CustomStringConvertible, CustomReflectable {
    // Sendable: `base` is written only before `init` returns. Afterwards it is only read.
    private let base: UnsafeMutableRawPointer
    /// The number of bytes.
    public let count: Int

    /// Makes `count` bytes and lets `fill` write them.
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

    /// Copies the bytes. The caller has to wipe the original.
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

    /// Passes the bytes to a closure.
    public func withBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(start: base, count: count))
    }

    /// Whether both have the same bytes, in time that depends only on the length.
    public func isEqual(to other: SecretBytes) -> Bool {
        count == other.count && CRYPTO_memcmp(base, other.base, count) == 0
    }

    /// Hides the bytes.
    public var description: String { "SecretBytes(****)" }

    /// Hides the bytes from reflection by debuggers and loggers.
    public var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// Whether two byte strings are equal, in time that depends only on their lengths.
public func constantTimeEqual(_ left: some ContiguousBytes, _ right: some ContiguousBytes) -> Bool {
    left.withUnsafeBytes { left in
        right.withUnsafeBytes { right in
            left.count == right.count
                && (left.count == 0 || CRYPTO_memcmp(left.baseAddress, right.baseAddress, left.count) == 0)
        }
    }
}

/// Overwrites a buffer that holds a secret, in a way that no optimizer removes.
public func secureWipe(_ buffer: UnsafeMutableRawBufferPointer) {
    if let base = buffer.baseAddress { OPENSSL_cleanse(base, buffer.count) }
}
