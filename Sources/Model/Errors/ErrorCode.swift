/// Error codes that Dataverse's clients know, each with its HTTP status.
package enum ErrorCode: String, Sendable, CaseIterable {
    case invalidArgument = "0x80040203"
    case unexpected = "0x80040216"
    case objectDoesNotExist = "0x80040217"
    case notImplemented = "0x80040219"
    case privilegeDenied = "0x80040220"
    case userDisabled = "0x80040225"
    case duplicateRecord = "0x80040237"
    case readOnly = "0x8004022E"
    case outcomeUnknown = "0x80044150"
    case sqlTimeout = "0x80044151"
    case stringLengthTooLong = "0x80044331"
    case expiredVersionStamp = "0x80044352"
    case noSuchAttribute = "0x80041103"
    case requestTooLarge = "0x8004418A"
    case accessDenied = "0x80048405"
    case invalidStateStatus = "0x80048408"
    case encryption = "0x80048518"
    case encryptionTestFailed = "0x80048523"
    case cannotDecryptExistingData = "0x80048524"
    case isActiveCannotRestore = "0x80048525"
    case cannotDeleteKey = "0x80048526"
    case isInactiveCannotChange = "0x80048527"
    case keyValidation = "0x80048528"
    case changeQuotaExceeded = "0x80048529"
    case setIsAlreadyRunning = "0x8004852A"
    case restoreCannotDecrypt = "0x8004852B"
    case httpsRequired = "0x8004852C"
    case keySourceMissing = "0x8004852D"
    case keyRequired = "0x8004852E"
    case approvalAwaited = "0x8004852F"
    case signInTooOld = "0x80048530"
    case payloadDoesNotFit = "0x80048D19"
    case organizationDisabled = "0x8004A104"
    case sslRequired = "0x8005E201"
    case profileNotAssociated = "0x8005E222"
    case profileInactive = "0x8005E228"
    case badRequest = "0x8005F100"
    case attributeCannotBeUpdated = "0x80060413"
    case concurrencyVersionMismatch = "0x80060882"
    case concurrencyVersionNotProvided = "0x80060883"
    case queryDoesNotFit = "0x80060888"
    case noResource = "0x8006088A"
    case recordNotFoundByKey = "0x80060891"
    case duplicateRecordKey = "0x80060892"
    case requestQuotaExceeded = "0x80072322"
    case concurrentRequestsExceeded = "0x80072326"
    case notAUser = "0x80072560"

    /// Whether the organization needs its key: there is none, or this server can't unwrap it.
    package var asksForKey: Bool { self == .keyRequired || self == .keySourceMissing }

    /// The status of an HTTP response with this code.
    package var httpStatus: Int {
        switch self {
        case .accessDenied, .signInTooOld: 401
        case .privilegeDenied, .userDisabled, .httpsRequired, .organizationDisabled, .notAUser, .approvalAwaited: 403
        case .objectDoesNotExist, .noResource, .recordNotFoundByKey: 404
        case .keySourceMissing, .keyRequired: 409
        case .duplicateRecord, .concurrencyVersionMismatch, .duplicateRecordKey: 412
        case .requestTooLarge: 413
        case .concurrencyVersionNotProvided: 428
        case .changeQuotaExceeded, .setIsAlreadyRunning, .requestQuotaExceeded, .concurrentRequestsExceeded: 429
        case .unexpected, .outcomeUnknown, .encryption, .encryptionTestFailed, .cannotDecryptExistingData: 500
        case .notImplemented: 501
        default: 400
        }
    }
}
