import COpenSSL

/// libcrypto could not do what it was asked for: memory ran out, or a provider lacks an algorithm.
///
/// It never tells anything about a key or a value.
public struct CryptoLibraryError: Error, CustomStringConvertible, Sendable {
    /// The libcrypto call that failed.
    public let call: String
    /// libcrypto's own reason, if it left one.
    public let reason: String?

    init(call: String) {
        self.call = call
        let code = ERR_get_error()
        reason = code == 0 ? nil : ERR_reason_error_string(code).map { String(cString: $0) }
        ERR_clear_error()
    }

    public var description: String { "libcrypto: \(call) failed\(reason.map { ": \($0)" } ?? "")" }
}

/// Turns libcrypto's "1 is success" into a throw.
func check(_ result: Int32, _ call: String) throws(CryptoLibraryError) {
    guard result == 1 else { throw CryptoLibraryError(call: call) }
}

/// Turns libcrypto's null pointers into a throw.
func check<Pointer>(_ pointer: Pointer?, _ call: String) throws(CryptoLibraryError) -> Pointer {
    guard let pointer else { throw CryptoLibraryError(call: call) }
    return pointer
}
