import COpenSSL

/// A failure of libcrypto: memory ran out, or a provider lacks an algorithm.
///
/// The error contains no data of a key or a value.
public struct CryptoLibraryError: Error, CustomStringConvertible, Sendable {
    /// The libcrypto call that failed.
    public let call: String
    /// The reason that libcrypto reports, if there is one.
    public let reason: String?

    init(call: String) {
        self.call = call
        let code = ERR_get_error()
        reason = code == 0 ? nil : ERR_reason_error_string(code).map { String(cString: $0) }
        ERR_clear_error()
    }

    /// The call of libcrypto that failed, and its reason if it has one.
    public var description: String { "libcrypto: \(call) failed\(reason.map { ": \($0)" } ?? "")" }
}

/// Converts libcrypto's "1 is success" to a throw.
func check(_ result: Int32, _ call: String) throws(CryptoLibraryError) {
    guard result == 1 else { throw CryptoLibraryError(call: call) }
}

/// Converts libcrypto's null pointers to a throw.
func check<Pointer>(_ pointer: Pointer?, _ call: String) throws(CryptoLibraryError) -> Pointer {
    guard let pointer else { throw CryptoLibraryError(call: call) }
    return pointer
}
