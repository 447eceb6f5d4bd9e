// The links of many-to-many relationships, as entities. They are read; links are made by associating records.

extension EntityDefinition {
    /// That a user has a role.
    public static let systemUserRoles = link(
        "SystemUserRoles", "systemuserrolescollection", "SystemUserId", "RoleId", id: "SystemUserRoleId")

    /// That a team has a role, which its members have then.
    public static let teamRoles = link("TeamRoles", "teamrolescollection", "TeamId", "RoleId", id: "TeamRoleId")

    /// That a user is a member of a team.
    public static let teamMembership = link("TeamMembership", "teammemberships", "TeamId", "SystemUserId", id: "TeamMembershipId")

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
