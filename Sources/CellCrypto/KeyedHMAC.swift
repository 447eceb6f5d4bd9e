import COpenSSL
import Foundation

/// A keyed HMAC-SHA-512 (RFC 2104, FIPS 180-4) whose key schedule is computed once and reused.
///
/// Not safe for use by two threads at a time.
final class KeyedHMAC {
    private let context: OpaquePointer

    init(key: UnsafeRawBufferPointer) throws(CryptoLibraryError) {
        context = try check(EVP_MAC_CTX_new(try check(Algorithm.hmac, "EVP_MAC_fetch")), "EVP_MAC_CTX_new")
        let digestName: StaticString = "SHA512"
        let bytes = key.bindMemory(to: UInt8.self)
        var parameters = [
            OSSL_PARAM_construct_utf8_string(
                OSSL_MAC_PARAM_DIGEST,
                UnsafeMutableRawPointer(mutating: digestName.utf8Start).assumingMemoryBound(to: CChar.self),
                0
            ),
            OSSL_PARAM_construct_end(),
        ]
        try check(EVP_MAC_init(context, bytes.baseAddress, bytes.count, &parameters), "EVP_MAC_init")
    }

    deinit { EVP_MAC_CTX_free(context) }

    /// Starts a new message under the same key.
    func begin() throws(CryptoLibraryError) {
        try check(EVP_MAC_init(context, nil, 0, nil), "EVP_MAC_init")
    }

    func update(_ bytes: UnsafeRawBufferPointer) throws(CryptoLibraryError) {
        let input = bytes.bindMemory(to: UInt8.self)
        try check(EVP_MAC_update(context, input.baseAddress, input.count), "EVP_MAC_update")
    }

    /// Writes the 64 bytes of the MAC.
    func finish(into output: UnsafeMutablePointer<UInt8>) throws(CryptoLibraryError) {
        var written = 0
        try check(EVP_MAC_final(context, output, &written, 64), "EVP_MAC_final")
    }
}
