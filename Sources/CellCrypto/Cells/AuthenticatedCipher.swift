import COpenSSL

/// `A256CBC-HS512`, authenticated encryption as RFC 7518 section 5.2 defines it. The algorithm uses AES-256-CBC with PKCS #7
/// padding, then HMAC-SHA-512 over associated data, IV, ciphertext and the length of the associated data, cut to 32 bytes.
///
/// The cipher protects a value's confidentiality and integrity under one 64-byte key. The cipher does not hide the value's length
/// beyond the padding to 16 bytes. The cipher does not detect that an older ciphertext with the same associated data was restored.
/// An instance makes its libcrypto contexts once and reuses them. One thread at a time may use an instance.
final class AuthenticatedCipher {
    static let keyLength = 64
    static let ivLength = 16
    static let tagLength = 32
    static let blockLength = 16

    private let encryption: OpaquePointer
    private let decryption: OpaquePointer
    private let mac: KeyedHMAC

    /// - Parameter key: 64 bytes; the first 32 are the MAC key, the last 32 the encryption key (RFC 7518 section 5.2.2.1).
    init(key: SecretBytes) throws(CryptoLibraryError) {
        precondition(key.count == Self.keyLength)
        let aes = try check(Algorithm.aes256CBC, "EVP_CIPHER_fetch")
        encryption = try check(EVP_CIPHER_CTX_new(), "EVP_CIPHER_CTX_new")
        do {
            decryption = try check(EVP_CIPHER_CTX_new(), "EVP_CIPHER_CTX_new")
        } catch {
            EVP_CIPHER_CTX_free(encryption)
            throw error
        }
        mac = try key.withBytes { bytes throws(CryptoLibraryError) in
            try KeyedHMAC(key: UnsafeRawBufferPointer(rebasing: bytes[..<32]))
        }
        try key.withBytes { bytes throws(CryptoLibraryError) in
            let secret = UnsafeRawBufferPointer(rebasing: bytes[32...]).bindMemory(to: UInt8.self).baseAddress
            try check(EVP_EncryptInit_ex2(encryption, aes, secret, nil, nil), "EVP_EncryptInit_ex2")
            try check(EVP_DecryptInit_ex2(decryption, aes, secret, nil, nil), "EVP_DecryptInit_ex2")
        }
    }

    deinit {
        // `EVP_CIPHER_CTX_free` also wipes the key schedule of the context.
        EVP_CIPHER_CTX_free(encryption)
        EVP_CIPHER_CTX_free(decryption)
    }

    /// The length of the ciphertext of `count` bytes, with padding and without the tag.
    static func ciphertextLength(of count: Int) -> Int { (count / blockLength + 1) * blockLength }

    /// Encrypts, and writes ciphertext and tag to `output`.
    ///
    /// - Parameter output: Room for ``ciphertextLength(of:)`` bytes and the 32 bytes of the tag.
    func seal(
        _ plaintext: UnsafeRawBufferPointer,
        iv: UnsafeRawBufferPointer,
        associatedData: UnsafeRawBufferPointer,
        into output: UnsafeMutableRawBufferPointer
    ) throws(CryptoLibraryError) {
        let out = output.bindMemory(to: UInt8.self)
        guard let base = out.baseAddress else { throw CryptoLibraryError(call: "seal") }
        var written: Int32 = 0
        var last: Int32 = 0
        let vector = iv.bindMemory(to: UInt8.self).baseAddress
        try check(EVP_EncryptInit_ex2(encryption, nil, nil, vector, nil), "EVP_EncryptInit_ex2")
        let input = plaintext.bindMemory(to: UInt8.self)
        try check(
            EVP_EncryptUpdate(encryption, base, &written, input.baseAddress ?? UnsafePointer(base), Int32(input.count)),
            "EVP_EncryptUpdate"
        )
        try check(EVP_EncryptFinal_ex(encryption, base + Int(written), &last), "EVP_EncryptFinal_ex")
        let length = Int(written + last)
        try withTag(iv, UnsafeRawBufferPointer(rebasing: output[..<length]), associatedData) { tag in
            (base + length).update(from: tag, count: Self.tagLength)
        }
    }

    /// Verifies the tag in constant time, and only then decrypts.
    ///
    /// - Parameter output: Room for as many bytes as the ciphertext has.
    /// - Returns: The length of the plaintext; nil when the tag or the padding is wrong. The result does not tell which of the two.
    func open(
        _ ciphertext: UnsafeRawBufferPointer,
        tag: UnsafeRawBufferPointer,
        iv: UnsafeRawBufferPointer,
        associatedData: UnsafeRawBufferPointer,
        into output: UnsafeMutableRawBufferPointer
    ) throws(CryptoLibraryError) -> Int? {
        var matches = false
        try withTag(iv, ciphertext, associatedData) { expected in
            matches = tag.count == Self.tagLength && CRYPTO_memcmp(expected, tag.baseAddress, Self.tagLength) == 0
        }
        guard matches, let base = output.bindMemory(to: UInt8.self).baseAddress else { return nil }
        var written: Int32 = 0
        var last: Int32 = 0
        let vector = iv.bindMemory(to: UInt8.self).baseAddress
        try check(EVP_DecryptInit_ex2(decryption, nil, nil, vector, nil), "EVP_DecryptInit_ex2")
        let input = ciphertext.bindMemory(to: UInt8.self)
        guard EVP_DecryptUpdate(decryption, base, &written, input.baseAddress, Int32(input.count)) == 1,
            EVP_DecryptFinal_ex(decryption, base + Int(written), &last) == 1
        else {
            ERR_clear_error()
            return nil
        }
        return Int(written + last)
    }

    private func withTag(
        _ iv: UnsafeRawBufferPointer,
        _ ciphertext: UnsafeRawBufferPointer,
        _ associatedData: UnsafeRawBufferPointer,
        _ body: (UnsafePointer<UInt8>) -> Void
    ) throws(CryptoLibraryError) {
        try mac.begin()
        try mac.update(associatedData)
        try mac.update(iv)
        try mac.update(ciphertext)
        var length = UInt64(associatedData.count * 8).bigEndian
        var failure: CryptoLibraryError?
        withUnsafeBytes(of: &length) { bytes in
            do throws(CryptoLibraryError) { try mac.update(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
        try withUnsafeTemporaryAllocation(of: UInt8.self, capacity: hmacLength) { buffer throws(CryptoLibraryError) in
            guard let base = buffer.baseAddress else { throw CryptoLibraryError(call: "tag") }
            try mac.finish(into: base)
            body(base)
        }
    }
}
