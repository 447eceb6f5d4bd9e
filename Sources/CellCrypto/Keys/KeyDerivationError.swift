import COpenSSL

/// The stored salt or iteration count is out of range.
public struct KeyDerivationError: Error, Sendable, CustomStringConvertible {
    /// The limits of salt and iteration count.
    public var description: String {
        "the salt must have \(DataKey.saltLength) bytes and the iteration count be between 1 and 10,000,000"
    }
}
