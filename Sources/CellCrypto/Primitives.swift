import COpenSSL
public import Foundation

/// Length of an HMAC-SHA-512 and of a SHA-512 digest, in bytes.
let hmacLength = 64

/// HMAC-SHA-512 over one message, 64 bytes.
func hmacSHA512(key: UnsafeRawBufferPointer, _ message: UnsafeRawBufferPointer) throws(CryptoLibraryError) -> [UInt8] {
    let mac = try KeyedHMAC(key: key)
    try mac.update(message)
    var output = [UInt8](repeating: 0, count: hmacLength)
    try mac.finish(into: &output)
    return output
}

/// The subkey for tags of one kind of row: HMAC-SHA-512 of the label.
func tagSubkey(of key: SecretBytes, label: String) throws -> SecretBytes {
    try key.withBytes { key throws(any Error) in
        try Array("fieldseal tag \(label)".utf8).withUnsafeBytes { label in
            var mac = try hmacSHA512(key: key, label)
            return mac.withUnsafeMutableBytes { mac in
                defer { secureWipe(mac) }
                return SecretBytes(copying: UnsafeRawBufferPointer(mac))
            }
        }
    }
}

/// HMAC-SHA-512 over length-prefixed fields, cut to 32 bytes.
func tag(under subkey: SecretBytes, over fields: [[UInt8]]) throws -> [UInt8] {
    let message = fields.flatMap { field in
        withUnsafeBytes(of: UInt64(field.count).bigEndian) { Array($0) } + field
    }
    let mac = try subkey.withBytes { subkey throws(any Error) in
        try message.withUnsafeBytes { try hmacSHA512(key: subkey, $0) }
    }
    return Array(mac.prefix(AuthenticatedCipher.tagLength))
}

/// The first 8 bytes of SHA-256 over a label and a secret, as 16 hexadecimal digits, which identify the secret without revealing
/// it.
func shortDigest(label: String, of secret: SecretBytes) throws(CryptoLibraryError) -> String {
    let message = SecretBytes(count: label.utf8.count + secret.count) { buffer in
        buffer.copyBytes(from: label.utf8)
        secret.withBytes { buffer[label.utf8.count...].copyBytes(from: $0) }
    }
    var digest = [UInt8](repeating: 0, count: 32)
    try message.withBytes { bytes throws(CryptoLibraryError) in
        try check(
            EVP_Digest(bytes.baseAddress, bytes.count, &digest, nil, try check(Algorithm.sha256, "EVP_MD_fetch"), nil),
            "EVP_Digest"
        )
    }
    return hexadecimal(digest.prefix(8))
}

/// Lower-case hexadecimal, two digits a byte.
public func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}

/// Bytes from libcrypto's random generator for public values (initialization vectors, salts).
public func randomBytes(count: Int) throws(CryptoLibraryError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try check(RAND_bytes(&bytes, Int32(count)), "RAND_bytes")
    return bytes
}

/// SHA-256 (FIPS 180-4) of a message, 32 bytes.
public func sha256(_ message: some ContiguousBytes) throws(CryptoLibraryError) -> [UInt8] {
    var digest = [UInt8](repeating: 0, count: 32)
    let algorithm = try check(Algorithm.sha256, "EVP_MD_fetch")
    let result = message.withUnsafeBytes { EVP_Digest($0.baseAddress, $0.count, &digest, nil, algorithm, nil) }
    try check(result, "EVP_Digest")
    return digest
}
