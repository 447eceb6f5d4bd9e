internal import CPKCS11
import CellCrypto
import Glibc

/// A session at a PKCS#11 token, signed in with the PIN while ``run(_:isWriting:_:)`` runs.
struct KeyToken {
    private let functions: CK_FUNCTION_LIST
    private let session: CK_ULONG
    private let place: KeyTokenPlace

    /// The lengths of the nonce, and of the tag at the end of the sealed bytes.
    static let ivLength = 12
    private static let tagLength = 16
    private static let keyBytes: CK_ULONG = 32
    private static let wholeByte: CK_ULONG = 8

    /// Signs in at the token, runs `body`, and signs out. The PIN is tried once, because tokens lock after a few wrong PINs.
    ///
    /// - Throws: ``KeyTokenProblem``.
    static func run<Result>(_ place: KeyTokenPlace, isWriting: Bool = false, _ body: (KeyToken) throws -> Result) throws -> Result {
        let functions = try KeyTokenModule.functions(place.module)
        var arguments = CK_C_INITIALIZE_ARGS()
        arguments.flags = CKF_OS_LOCKING_OK
        let begun = functions.C_Initialize?(&arguments)
        if begun != CKR_CRYPTOKI_ALREADY_INITIALIZED { try check("C_Initialize", begun, place) }
        defer { if begun == CKR_OK { _ = functions.C_Finalize?(nil) } }
        let slot = try KeyTokenModule.slot(of: place, functions)
        var session: CK_ULONG = 0
        let flags = CKF_SERIAL_SESSION | (isWriting ? CKF_RW_SESSION : 0)
        try check("C_OpenSession", functions.C_OpenSession?(slot, flags, nil, nil, &session), place)
        defer { _ = functions.C_CloseSession?(session) }
        try signIn(place, functions, session)
        defer { _ = functions.C_Logout?(session) }
        return try body(KeyToken(functions: functions, session: session, place: place))
    }

    private static func signIn(_ place: KeyTokenPlace, _ functions: CK_FUNCTION_LIST, _ session: CK_ULONG) throws {
        let pin = try KeyTokenPIN.read(place.pinFile)
        let answer = pin.withBytes { pin in
            functions.C_Login?(session, CKU_USER, pin.bindMemory(to: CK_BYTE.self).baseAddress, CK_ULONG(pin.count))
        }
        switch answer {
        case CKR_USER_ALREADY_LOGGED_IN: break
        case CKR_PIN_INCORRECT, CKR_PIN_LEN_RANGE: throw KeyTokenProblem.wrongPIN(place)
        case CKR_PIN_LOCKED, CKR_PIN_EXPIRED: throw KeyTokenProblem.lockedPIN(place)
        default: try check("C_Login", answer, place)
        }
    }

    /// - Parameter answer: The result of the function; nil if the module does not have the function.
    static func check(_ function: String, _ answer: CK_RV?, _ place: KeyTokenPlace) throws {
        guard let answer else { throw KeyTokenProblem.noFunction(place, function) }
        guard answer == CKR_OK else { throw KeyTokenProblem.refused(place, function, code: UInt(answer)) }
    }

    private func check(_ function: String, _ answer: CK_RV?) throws { try Self.check(function, answer, place) }

    // MARK: The key in the token

    /// The AES key with the label; nil if there is none.
    ///
    /// - Throws: ``KeyTokenProblem`` for several keys, for another kind of key, and for a key that can be read out of the token.
    func key() throws -> CK_ULONG? {
        let found = try KeyTokenAttributes([.number(CKA_CLASS, CKO_SECRET_KEY), .text(CKA_LABEL, place.label)])
            .withPointer { attributes, count in
                try check("C_FindObjectsInit", functions.C_FindObjectsInit?(session, attributes, count))
                defer { _ = functions.C_FindObjectsFinal?(session) }
                var found: [CK_ULONG] = [0, 0]
                var number: CK_ULONG = 0
                try check("C_FindObjects", functions.C_FindObjects?(session, &found, CK_ULONG(found.count), &number))
                return found.prefix(Int(number))
            }
        guard let key = found.first else { return nil }
        guard found.count == 1 else { throw KeyTokenProblem.severalKeys(place) }
        guard try attribute(CKA_KEY_TYPE, of: key) == CKK_AES, try attribute(CKA_VALUE_LEN, of: key) == Self.keyBytes else {
            throw KeyTokenProblem.otherKind(place)
        }
        guard try isTrue(CKA_SENSITIVE, of: key), try !isTrue(CKA_EXTRACTABLE, of: key) else {
            throw KeyTokenProblem.readableKey(place)
        }
        return key
    }

    /// Makes an AES key in the token. The key can't be exported.
    func makeKey() throws -> CK_ULONG {
        var mechanism = CK_MECHANISM(mechanism: CKM_AES_KEY_GEN, pParameter: nil, ulParameterLen: 0)
        let attributes = KeyTokenAttributes([
            .number(CKA_CLASS, CKO_SECRET_KEY), .number(CKA_KEY_TYPE, CKK_AES), .number(CKA_VALUE_LEN, Self.keyBytes),
            .text(CKA_LABEL, place.label), .flag(CKA_TOKEN, true), .flag(CKA_PRIVATE, true), .flag(CKA_SENSITIVE, true),
            .flag(CKA_EXTRACTABLE, false), .flag(CKA_ENCRYPT, true), .flag(CKA_DECRYPT, true),
        ])
        var key: CK_ULONG = 0
        try attributes.withPointer { attributes, count in
            try check("C_GenerateKey", functions.C_GenerateKey?(session, &mechanism, attributes, count, &key))
        }
        return key
    }

    private func attribute(_ type: CK_ULONG, of key: CK_ULONG) throws -> CK_ULONG {
        var value: CK_ULONG = 0
        try withUnsafeMutablePointer(to: &value) { pointer in
            var attribute = CK_ATTRIBUTE(type: type, pValue: pointer, ulValueLen: CK_ULONG(MemoryLayout<CK_ULONG>.size))
            try check("C_GetAttributeValue", functions.C_GetAttributeValue?(session, key, &attribute, 1))
        }
        return value
    }

    private func isTrue(_ type: CK_ULONG, of key: CK_ULONG) throws -> Bool {
        var value: CK_BYTE = 0
        try withUnsafeMutablePointer(to: &value) { pointer in
            var attribute = CK_ATTRIBUTE(type: type, pValue: pointer, ulValueLen: 1)
            try check("C_GetAttributeValue", functions.C_GetAttributeValue?(session, key, &attribute, 1))
        }
        return value != 0
    }

    // MARK: Use of the key

    /// Seals by AES-256-GCM. A token that chooses the nonce itself overwrites the given nonce.
    func seal(_ secret: SecretBytes, _ key: CK_ULONG, associated: [UInt8]) throws -> (iv: [UInt8], sealed: [UInt8]) {
        var iv = try randomBytes(count: Self.ivLength)
        var output = [UInt8](repeating: 0, count: secret.count + 2 * Self.tagLength)
        var length = CK_ULONG(output.count)
        try withMechanism(&iv, associated) { mechanism in
            try check("C_EncryptInit", functions.C_EncryptInit?(session, mechanism, key))
            try secret.withBytes { secret throws(any Error) in
                let data = secret.bindMemory(to: CK_BYTE.self)
                try check("C_Encrypt", functions.C_Encrypt?(session, data.baseAddress, CK_ULONG(data.count), &output, &length))
            }
        }
        guard length == secret.count + Self.tagLength else { throw KeyTokenProblem.otherLength(place, Int(length)) }
        return (iv, Array(output.prefix(Int(length))))
    }

    /// Opens what ``seal(_:_:associated:)`` sealed.
    func open(_ sealed: [UInt8], _ key: CK_ULONG, iv: [UInt8], associated: [UInt8]) throws -> SecretBytes {
        var iv = iv
        var length = CK_ULONG(sealed.count + Self.tagLength)
        let output = try SecretBytes(count: Int(length)) { output throws(any Error) in
            try withMechanism(&iv, associated) { mechanism in
                try check("C_DecryptInit", functions.C_DecryptInit?(session, mechanism, key))
                let answer = functions.C_Decrypt?(
                    session, sealed, CK_ULONG(sealed.count), output.bindMemory(to: CK_BYTE.self).baseAddress, &length)
                if let answer, answer != CKR_OK { throw KeyTokenProblem.notOpened(place, code: UInt(answer)) }
                try check("C_Decrypt", answer)
            }
        }
        guard length == sealed.count - Self.tagLength else { throw KeyTokenProblem.otherLength(place, Int(length)) }
        return output.withBytes { SecretBytes(copying: UnsafeRawBufferPointer(rebasing: $0.prefix(Int(length)))) }
    }

    private func withMechanism(
        _ iv: inout [UInt8], _ associated: [UInt8], _ body: (UnsafeMutablePointer<CK_MECHANISM>) throws -> Void
    ) throws {
        var associated = associated
        try iv.withUnsafeMutableBufferPointer { iv in
            try associated.withUnsafeMutableBufferPointer { associated in
                var parameters = CK_GCM_PARAMS(
                    pIv: iv.baseAddress, ulIvLen: CK_ULONG(iv.count), ulIvBits: CK_ULONG(iv.count) * Self.wholeByte,
                    pAAD: associated.baseAddress, ulAADLen: CK_ULONG(associated.count),
                    ulTagBits: CK_ULONG(Self.tagLength) * Self.wholeByte)
                try withUnsafeMutablePointer(to: &parameters) { parameters in
                    var mechanism = CK_MECHANISM(
                        mechanism: CKM_AES_GCM, pParameter: parameters, ulParameterLen: CK_ULONG(MemoryLayout<CK_GCM_PARAMS>.size))
                    try body(&mechanism)
                }
            }
        }
    }
}
