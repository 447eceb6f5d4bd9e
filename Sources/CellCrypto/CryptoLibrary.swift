import COpenSSL

/// The libcrypto of this program: the providers of its algorithms, and a test of their results.
public enum CryptoLibrary {
    /// An algorithm, and its provider in libcrypto.
    public struct Source: Sendable {
        /// The algorithm's name in libcrypto.
        public let algorithm: String
        /// For example `default` or `fips`; nil if no provider has the algorithm.
        public let provider: String?
    }

    /// Prevents libcrypto from freeing its memory when the process exits, because threads that still run would read it.
    ///
    /// Call this function before any other code uses libcrypto.
    public static func keepUntilExit() { OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_ATEXIT), nil) }

    /// The version that libcrypto reports.
    public static var version: String { String(cString: OpenSSL_version(OPENSSL_VERSION)) }

    /// Whether libcrypto's FIPS provider is loaded and the only source of algorithms.
    public static var isFIPSActive: Bool {
        OSSL_PROVIDER_available(nil, "fips") == 1 && EVP_default_properties_is_fips_enabled(nil) == 1
    }

    /// The provider of each algorithm of keys, cells and passwords.
    public static var sources: [Source] {
        [
            Source(algorithm: "AES-256-CBC", provider: Algorithm.aes256CBC.flatMap { name(EVP_CIPHER_get0_provider($0)) }),
            Source(algorithm: "HMAC", provider: Algorithm.hmac.flatMap { name(EVP_MAC_get0_provider($0)) }),
            Source(algorithm: "SHA-256", provider: Algorithm.sha256.flatMap { name(EVP_MD_get0_provider($0)) }),
            Source(algorithm: "SHA-512", provider: Algorithm.sha512.flatMap { name(EVP_MD_get0_provider($0)) }),
            Source(algorithm: "PBKDF2", provider: derivation("PBKDF2")),
            Source(algorithm: "scrypt", provider: derivation("SCRYPT")),
        ]
    }

    /// Whether a provider has scrypt. FIPS providers do not.
    public static let hasScrypt = derivation("SCRYPT") != nil

    private static func name(_ provider: OpaquePointer?) -> String? {
        provider.flatMap(OSSL_PROVIDER_get0_name).map { String(cString: $0) }
    }

    private static func derivation(_ algorithm: String) -> String? {
        guard let function = EVP_KDF_fetch(nil, algorithm, nil) else {
            ERR_clear_error()
            return nil
        }
        defer { EVP_KDF_free(function) }
        return name(EVP_KDF_get0_provider(function))
    }

    /// Checks that libcrypto computes known results: the cipher and MAC of cells (RFC 7518 appendix B.3), the derivation of keys,
    /// and SHA-256. Also checks that two random values differ.
    ///
    /// - Throws: ``CryptoSelfTestError`` for the first wrong result; ``CryptoLibraryError`` for a missing algorithm.
    public static func selfTest() throws {
        try testCipher()
        var derived = [UInt8](repeating: 0, count: hmacLength)
        let salt = Array("salt".utf8)
        try check(
            PKCS5_PBKDF2_HMAC("password", 8, salt, Int32(salt.count), 1, try check(Algorithm.sha512, "EVP_MD_fetch"), 64, &derived),
            "PKCS5_PBKDF2_HMAC")
        guard hexadecimal(derived) == pbkdf2 else { throw CryptoSelfTestError(algorithm: "PBKDF2-HMAC-SHA-512") }
        guard hexadecimal(try sha256(Array("abc".utf8))) == digestOfABC else { throw CryptoSelfTestError(algorithm: "SHA-256") }
        guard try randomBytes(count: 32) != randomBytes(count: 32) else {
            throw CryptoSelfTestError(algorithm: "the random generator")
        }
    }

    private static func testCipher() throws {
        let key = SecretBytes(count: AuthenticatedCipher.keyLength) { $0.copyBytes(from: UInt8(0)..<64) }
        let cipher = try AuthenticatedCipher(key: key)
        let plaintext = Array(
            "A cipher system must not be required to be secret, and it must be able to fall into the hands of the enemy without inconvenience"
                .utf8)
        let associated = Array("The second principle of Auguste Kerckhoffs".utf8)
        let length = AuthenticatedCipher.ciphertextLength(of: plaintext.count)
        var sealed = [UInt8](repeating: 0, count: length + AuthenticatedCipher.tagLength)
        try sealed.withUnsafeMutableBytes { output throws(any Error) in
            try plaintext.withUnsafeBytes { text throws(any Error) in
                try iv.withUnsafeBytes { iv throws(any Error) in
                    try associated.withUnsafeBytes { associated throws(any Error) in
                        try cipher.seal(text, iv: iv, associatedData: associated, into: output)
                    }
                }
            }
        }
        guard hexadecimal(sealed[length...]) == tag else { throw CryptoSelfTestError(algorithm: "AES-256-CBC with HMAC-SHA-512") }
    }

    private static let iv: [UInt8] = [
        0x1a, 0xf3, 0x8c, 0x2d, 0xc2, 0xb9, 0x6f, 0xfd, 0xd8, 0x66, 0x94, 0x09, 0x23, 0x41, 0xbc, 0x04,
    ]
    private static let tag = "4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5"
    private static let digestOfABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    private static let pbkdf2 =
        "867f70cf1ade02cff3752599a3a53dc4af34c7a669815ae5d513554e1c8cf252c02d470a285a0501bad999bfe943c08f050235d7d68b1da55e63f73b60a57fce"
}
