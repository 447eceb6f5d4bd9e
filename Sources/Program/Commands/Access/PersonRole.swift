import ArgumentParser
import Authentication
import Foundation
import JSON
import Model
import Tenancy

/// The roles that a person may have. A router's role is only for programs.
enum PersonRole: String, CaseIterable, ExpressibleByArgument {
    case systemAdministrator = "System Administrator"
    case emailAdministrator = "Email Administrator"
    case basicUser = "Basic User"

    var role: Role {
        switch self {
        case .systemAdministrator: .systemAdministrator
        case .emailAdministrator: .emailAdministrator
        case .basicUser: .basicUser
        }
    }
}
