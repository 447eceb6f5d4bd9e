import COpenSSL
import Foundation

/// Algorithms from libcrypto's providers, fetched once in a process, because fetching takes locks and several microseconds.
enum Algorithm {
    // `OpaquePointer` isn't Sendable, but these objects are immutable and reference-counted, and are never freed.
    nonisolated(unsafe) static let aes256CBC = EVP_CIPHER_fetch(nil, "AES-256-CBC", nil)
    nonisolated(unsafe) static let hmac = EVP_MAC_fetch(nil, "HMAC", nil)
    nonisolated(unsafe) static let sha256 = EVP_MD_fetch(nil, "SHA256", nil)
    nonisolated(unsafe) static let sha512 = EVP_MD_fetch(nil, "SHA512", nil)
}
