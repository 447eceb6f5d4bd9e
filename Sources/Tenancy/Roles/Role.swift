import Model

/// A role of a caller.
package enum Role: String, Sendable, CaseIterable {
    case systemAdministrator = "System Administrator"
    case emailAdministrator = "Email Administrator"
    case basicUser = "Basic User"
    case emailRouter = "Email Router"
}
