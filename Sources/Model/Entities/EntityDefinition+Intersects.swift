// The links of many-to-many relationships, as read-only entities. A client makes a link by associating two records.

extension EntityDefinition {
    /// The link between a user and a role of that user.
    package static let systemUserRoles = link(
        "SystemUserRoles", "systemuserrolescollection", "SystemUserId", "RoleId", id: "SystemUserRoleId")

    /// The link between a team and a role of that team. The team's members have the role too.
    package static let teamRoles = link("TeamRoles", "teamrolescollection", "TeamId", "RoleId", id: "TeamRoleId")

    /// The link between a team and a user who is a member.
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
