import CellCrypto
import Crypto
import Foundation
import Glibc
import Subprocess
import SystemPackage

/// The reason for which `fieldseal dev` does not start.
enum DevelopmentError: Error, CustomStringConvertible {
    case noDatabaseUser
    case noPostgreSQL
    case cannotEnter(folder: String, user: String)
    case notOwn(folder: String, reason: String)
    case cannotWrite(String)
    case running(home: String)
    case initializationFailed(String)
    case doesNotStart(log: String)
    case portTaken(String, Int)

    var description: String {
        switch self {
        case .noDatabaseUser:
            "PostgreSQL refuses to run as root and there is no user postgres; install PostgreSQL (apt-get install postgresql), "
                + "or run this as another user"
        case .noPostgreSQL: "there is no PostgreSQL here; install it: apt-get install postgresql"
        case .cannotEnter(let folder, let user):
            "PostgreSQL runs as the user \(user), who cannot enter \(folder); allow it (chmod o+x \(folder)), "
                + "or put the deployment elsewhere (FIELDSEAL_HOME=/srv/fieldseal)"
        case .notOwn(let folder, let reason):
            "\(folder) can't be used, because another user could change what is in it: \(reason). "
                + "Remove it, or name a folder of your own (FIELDSEAL_HOME)"
        case .cannotWrite(let path): "\(path) can't be written"
        case .running(let home): "another `fieldseal dev` is running in \(home); stop it first"
        case .initializationFailed(let reason): "initdb failed: \(reason)"
        case .doesNotStart(let log): "PostgreSQL does not start; see \(log)"
        case .portTaken(let name, let port): "port \(port) (\(name)) is taken; set another, or 0 for a free one"
        }
    }
}
