import Model

/// A role of a caller.
package enum Role: String, Sendable, CaseIterable {
    case systemAdministrator = "System Administrator"
    case emailAdministrator = "Email Administrator"
    case basicUser = "Basic User"
    case emailRouter = "Email Router"

    /// Whether this role allows something that `former` does not. Only the role System Administrator allows all that another role
    /// does.
    package func adds(to former: Role) -> Bool { self != former && former != .systemAdministrator }
}
