// The links of many-to-many relationships, as read-only entities. Associating records makes links.

extension EntityDefinition {
    /// A role of a user.
    package static let systemUserRoles = link(
        "SystemUserRoles", "systemuserrolescollection", "SystemUserId", "RoleId", id: "SystemUserRoleId")

    /// A role of a team. The team's members have it too.
    package static let teamRoles = link("TeamRoles", "teamrolescollection", "TeamId", "RoleId", id: "TeamRoleId")

    /// A user's membership in a team.
    package static let teamMembership = link("TeamMembership", "teammemberships", "TeamId", "SystemUserId", id: "TeamMembershipId")

    private static func link(_ name: String, _ set: String, _ first: String, _ second: String, id: String) -> EntityDefinition {
        EntityDefinition(
            schemaName: name,
            entitySetName: set,
            primaryID: id.lowercased(),
            primaryName: nil,
            messages: [.retrieve, .retrieveMultiple],
            attributes: [
                .init(id, .uniqueIdentifier, required: .system, validFor: [.read]),
                .init(first, .uniqueIdentifier, required: .system, validFor: [.read]),
                .init(second, .uniqueIdentifier, required: .system, validFor: [.read]),
                .init("VersionNumber", .bigInt, validFor: [.read]),
            ]
        )
    }
}
