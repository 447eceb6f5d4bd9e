import Testing

@testable import Tenancy

@Suite("Problems of a PKCS#11 token after which a restart of the service is useless")
struct KeyTokenProblemTests {
    private static let place = KeyTokenPlace(
        module: "/usr/lib/token.so", token: "fieldseal", label: "kek", pinFile: "/etc/pin", sealedFile: "/etc/kek.sealed")
    /// `CKR_DEVICE_ERROR`.
    private static let deviceError: UInt = 0x30
    /// `CKR_DEVICE_ERROR`, `CKR_SESSION_COUNT`, `CKR_TOKEN_NOT_RECOGNIZED` and `CKR_USER_NOT_LOGGED_IN`.
    private static let passing: [UInt] = [deviceError, 0xB1, 0xE1, 0x101]
    /// `CKR_ENCRYPTED_DATA_INVALID`, `CKR_ENCRYPTED_DATA_LEN_RANGE`, and `CKR_GENERAL_ERROR`, which SoftHSM returns instead of the
    /// first two.
    private static let damage: [UInt] = [0x40, 0x41, 0x05]

    @Test(
        "A wrong file, PIN or key has to be corrected by an operator",
        arguments: [
            KeyTokenProblem.wrongPIN(place), .lockedPIN(place), .lastTry(place), .pinFile("/etc/pin", "mode"),
            .sealedFile("/etc/kek.sealed", "damaged"), .noKey(place), .otherKind(place), .readableKey(place), .severalKeys(place),
        ] + damage.map { .notOpened(place, code: $0) })
    func corrected(problem: KeyTokenProblem) { #expect(problem.needsCorrection) }

    @Test(
        "A missing or busy token needs no correction, because it may respond at the next start",
        arguments: [
            KeyTokenProblem.noToken(place, []), .refused(place, "C_OpenSession", code: deviceError),
        ] + passing.map { .notOpened(place, code: $0) })
    func awaited(problem: KeyTokenProblem) { #expect(!problem.needsCorrection) }
}
