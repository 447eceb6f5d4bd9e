import Model

/// The depth of a privilege.
package enum PrivilegeDepth: Int, Sendable, Comparable {
    case none
    /// The caller's own records, those of their teams, and those that were shared with them.
    case own
    /// The records of ``own``, and those of users in the caller's business unit.
    case businessUnit
    /// Every record of the organization.
    case organization

    package static func < (one: PrivilegeDepth, other: PrivilegeDepth) -> Bool { one.rawValue < other.rawValue }
}
