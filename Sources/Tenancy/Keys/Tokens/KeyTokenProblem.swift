internal import CPKCS11

/// The reason for which a token returned no key-encryption key.
package enum KeyTokenProblem: Error, Sendable, CustomStringConvertible {
    case module(String, String)
    case noFunction(KeyTokenPlace, String)
    case refused(KeyTokenPlace, String, code: UInt)
    case noToken(KeyTokenPlace, [String])
    case severalTokens(KeyTokenPlace)
    case pinFile(String, String)
    case wrongPIN(KeyTokenPlace)
    case lockedPIN(KeyTokenPlace)
    case lastTry(KeyTokenPlace)
    case noKey(KeyTokenPlace)
    case keyExists(KeyTokenPlace)
    case severalKeys(KeyTokenPlace)
    case otherKind(KeyTokenPlace)
    case readableKey(KeyTokenPlace)
    case otherLength(KeyTokenPlace, Int)
    case notSealed(KeyTokenPlace)
    case notOpened(KeyTokenPlace, code: UInt)
    case sealedFile(String, String)

    /// Whether another attempt with the same PIN could lock the token.
    package var isOfPIN: Bool {
        switch self {
        case .wrongPIN, .lockedPIN, .lastTry: true
        default: false
        }
    }

    /// Whether each start fails in the same way until an operator corrects a file, the token's PIN or the key in it. A token that is
    /// missing or does not respond may be there at the next start.
    package var needsCorrection: Bool {
        switch self {
        case .pinFile, .sealedFile, .noKey, .severalKeys, .otherKind, .readableKey, .keyExists: true
        case .wrongPIN, .lockedPIN, .lastTry: true
        case .notOpened(_, let code): !Self.passingCodes.contains(code)
        case .module, .noFunction, .refused, .noToken, .severalTokens, .otherLength, .notSealed: false
        }
    }

    /// Codes of a token that is busy or was removed. For a sealed file that can't be opened, tokens return other codes, such as
    /// `CKR_GENERAL_ERROR`.
    private static let passingCodes: Set<UInt> = [
        CKR_HOST_MEMORY, CKR_FUNCTION_FAILED, CKR_DEVICE_ERROR, CKR_DEVICE_MEMORY, CKR_DEVICE_REMOVED, CKR_FUNCTION_CANCELED,
        CKR_SESSION_CLOSED, CKR_SESSION_COUNT, CKR_SESSION_HANDLE_INVALID, CKR_TOKEN_NOT_PRESENT, CKR_TOKEN_NOT_RECOGNIZED,
        CKR_USER_NOT_LOGGED_IN,
    ]

    package var description: String {
        switch self {
        case .module(let path, let reason): "the PKCS#11 module \(path) can't be used: \(reason)"
        case .noFunction(let place, let function): "the PKCS#11 module \(place.module) has no function \(function)"
        case .refused(let place, let function, let code):
            "the token \(place.token) refused \(function) with \(Self.hexadecimal(code)); the manual of the token says what that is"
        case .noToken(let place, let labels):
            "the PKCS#11 module \(place.module) has no token \(place.token)"
                + (labels.isEmpty ? "; it has none" : "; it has \(labels.joined(separator: ", "))")
                + ". Attach the token, or correct the setting token"
        case .severalTokens(let place):
            "the PKCS#11 module \(place.module) has several tokens \(place.token); give them different labels"
        case .pinFile(let path, let reason): "the file \(path) with the token's PIN can't be used: \(reason)"
        case .wrongPIN(let place):
            "the token \(place.token) refuses the PIN in \(place.pinFile). Correct the file before the next start: a token locks itself "
                + "after a few wrong PINs"
        case .lockedPIN(let place):
            "the user PIN of the token \(place.token) is locked or expired; its security officer can set a new one"
        case .lastTry(let place):
            "the token \(place.token) allows one more try of its PIN, which was not made. Sign in with the token's own tool first"
        case .noKey(let place):
            "the token \(place.token) has no secret key \(place.label). Restore the token from its backup. Only for a new deployment: "
                + "fieldseal kek seal --make-token-key"
        case .keyExists(let place):
            "the token \(place.token) has a secret key \(place.label) already; it was not replaced. Leave --make-token-key out"
        case .severalKeys(let place): "the token \(place.token) has several secret keys \(place.label); give them different labels"
        case .otherKind(let place): "the key \(place.label) in the token \(place.token) is no AES key of 256 bits"
        case .readableKey(let place):
            "the key \(place.label) can be read out of the token \(place.token): it must be sensitive and not extractable. Make "
                + "another one: fieldseal kek seal --make-token-key"
        case .otherLength(let place, let length):
            "the token \(place.token) returned \(length) bytes, which is no sealed or opened key-encryption key"
        case .notSealed(let place):
            "the token \(place.token) can't open what it sealed with its key \(place.label), so nothing was written"
        case .notOpened(let place, let code):
            "the token \(place.token) did not open \(place.sealedFile) with its key \(place.label) (\(Self.hexadecimal(code))): the file "
                + "was changed, or another key sealed it. Restore the file from its backup"
        case .sealedFile(let path, let reason): "the sealed key-encryption key \(path) can't be used: \(reason)"
        }
    }

    private static func hexadecimal(_ code: UInt) -> String { "0x\(String(code, radix: 16, uppercase: true))" }
}
