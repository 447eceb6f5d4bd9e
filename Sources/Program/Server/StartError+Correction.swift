import CellCrypto
import Email
import Tenancy

extension Error {
    /// Whether another start fails for the same reason until an operator corrects the settings, a file that they name, or a key.
    var needsCorrection: Bool {
        switch self {
        case is SettingsError, is WrongKeyEncryptionKey, is RetiredKeyEncryptionKey, is KeyEncryptionKeyFile.Problem,
            is ServerCertificate.Problem, is MailOAuthTokens.FileError, is ReceiverProblem:
            true
        case let problem as KeyTokenProblem: problem.needsCorrection
        case let error as StartError: error.isOfSettings
        default: false
        }
    }
}

extension StartError {
    fileprivate var isOfSettings: Bool {
        switch self {
        case .superuser, .portTwice, .unusableSocket, .noSocket, .noSocketFolder: true
        case .database(_, let reason): reason.needsCorrection
        case .notMigrated, .rightsMissing, .portTaken, .noListener, .organizationsUnknown, .socketTaken: false
        }
    }
}
