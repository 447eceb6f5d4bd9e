import COpenSSL

/// A result of libcrypto differs from the standard.
public struct CryptoSelfTestError: Error, Sendable, CustomStringConvertible {
    /// The algorithm's name, as its standard has it.
    public let algorithm: String

    /// The algorithm that failed, and what to do.
    public var description: String {
        "the self-test of \(algorithm) failed: libcrypto does not compute what the standard says; restore the package libssl3, and start again"
    }
}
