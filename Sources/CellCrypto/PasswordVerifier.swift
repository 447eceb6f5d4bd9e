import COpenSSL
public import Foundation

/// What is kept of a person's password: scrypt (RFC 7914) with N = 2¹⁵, r = 8, p = 3, which takes 32 MiB and some tenths of a
/// second; 32 bytes.
public enum PasswordVerifier {
    /// Bytes of the salt.
    public static let saltLength = 16
    private static let cost: UInt64 = 1 << 15
    private static let blockSize: UInt64 = 8
    private static let parallelism: UInt64 = 3
    private static let memoryLimit: UInt64 = 64 << 20

    /// Derives the verifier. It blocks for that long: never on an event loop.
    ///
    /// - Parameter password: As it was typed; its NFC form is taken, so that keyboards agree.
    public static func make(of password: String, salt: [UInt8]) throws -> [UInt8] {
        var output = [UInt8](repeating: 0, count: 32)
        var bytes = Array(password.precomposedStringWithCanonicalMapping.utf8)
        defer { bytes.withUnsafeMutableBytes { secureWipe($0) } }
        let length = bytes.count
        let done = bytes.withUnsafeBytes { password in
            EVP_PBE_scrypt(
                password.bindMemory(to: CChar.self).baseAddress, length, salt, salt.count, cost, blockSize, parallelism,
                memoryLimit, &output, output.count)
        }
        try check(done, "EVP_PBE_scrypt")
        return output
    }
}
