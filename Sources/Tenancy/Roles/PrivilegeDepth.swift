import Model

/// The depth of a privilege.
package enum PrivilegeDepth: Int, Sendable, Comparable {
    case none
    /// Records of the caller and the caller's teams, and records that were shared with the caller or these teams.
    case own
    /// The records of ``own``, and the records of users in the caller's business unit.
    case businessUnit
    /// Every record of the organization.
    case organization

    package static func < (one: PrivilegeDepth, other: PrivilegeDepth) -> Bool { one.rawValue < other.rawValue }
}
