import COpenSSL
import Foundation

/// The stored form of a person's password: 32 bytes that take some tenths of a second to compute.
///
/// The salt selects the algorithm: 16 random bytes alone mean scrypt. A prefix of five bytes before them means PBKDF2.
public enum PasswordVerifier {
    /// The algorithm of a verifier.
    public enum Derivation: String, Sendable, CaseIterable {
        /// scrypt (RFC 7914) with N = 2¹⁵, r = 8, p = 3, which takes 32 MiB.
        case scrypt
        /// PBKDF2-HMAC-SHA-512 (NIST SP 800-132), which FIPS providers support.
        case pbkdf2
    }

    /// How many random bytes a salt has.
    public static let saltLength = 16
    private static let cost: UInt64 = 1 << 15
    private static let blockSize: UInt64 = 8
    private static let parallelism: UInt64 = 3
    private static let memoryLimit: UInt64 = 64 << 20
    private static let length = 32

    /// The first byte of a salt for PBKDF2; the iterations follow in four bytes, the highest first.
    private static let pbkdf2Mark: UInt8 = 1
    private static let headLength = 5
    /// The iterations of new verifiers. OWASP recommends at least 210,000 with HMAC-SHA-512.
    private static let newIterations: UInt32 = 600_000
    /// The iteration counts that a stored salt may have. With a limit, a row written by SQL can't occupy a thread for hours.
    private static let acceptedIterations: ClosedRange<UInt32> = 210_000...10_000_000

    /// A new salt for an algorithm.
    public static func newSalt(_ derivation: Derivation) throws -> [UInt8] {
        let random = try randomBytes(count: saltLength)
        switch derivation {
        case .scrypt: return random
        case .pbkdf2: return [pbkdf2Mark] + withUnsafeBytes(of: newIterations.bigEndian) { Array($0) } + random
        }
    }

    /// The algorithm of a salt; nil for an invalid salt.
    public static func derivation(of salt: [UInt8]) -> Derivation? {
        if salt.count == saltLength { return .scrypt }
        return storedIterations(in: salt).map { _ in .pbkdf2 }
    }

    private static func storedIterations(in salt: [UInt8]) -> UInt32? {
        guard salt.count == headLength + saltLength, salt[0] == pbkdf2Mark else { return nil }
        let iterations = salt[1..<headLength].reduce(0) { $0 << UInt8.bitWidth | UInt32($1) }
        return acceptedIterations.contains(iterations) ? iterations : nil
    }

    /// Derives the verifier. The derivation blocks for some tenths of a second, so never call this function on an event loop.
    ///
    /// - Parameter password: The typed password. This function normalizes it to NFC, because keyboards differ.
    public static func make(of password: String, salt: [UInt8]) throws -> [UInt8] {
        var output = [UInt8](repeating: 0, count: length)
        var bytes = Array(password.precomposedStringWithCanonicalMapping.utf8)
        defer { bytes.withUnsafeMutableBytes { secureWipe($0) } }
        let count = bytes.count
        try bytes.withUnsafeBytes { bytes throws(any Error) in
            let password = bytes.bindMemory(to: CChar.self).baseAddress
            guard let iterations = storedIterations(in: salt) else {
                try check(
                    EVP_PBE_scrypt(
                        password, count, salt, salt.count, cost, blockSize, parallelism, memoryLimit, &output, output.count),
                    "EVP_PBE_scrypt")
                return
            }
            try check(
                PKCS5_PBKDF2_HMAC(
                    password, Int32(count), salt, Int32(salt.count), Int32(iterations),
                    try check(Algorithm.sha512, "EVP_MD_fetch"), Int32(output.count), &output),
                "PKCS5_PBKDF2_HMAC")
        }
        return output
    }
}
