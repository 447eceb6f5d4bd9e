/// A many-to-many relationship: two entities, and a third one whose records are the links.
package struct ManyToManyRelationship: Sendable {
    /// The unique name in its original case, and the name of the navigation property at both ends.
    package let schemaName: String
    package let first: EntityDefinition
    package let second: EntityDefinition
    /// The entity of the links. Its attributes with the two ids have the same names as in the linked records.
    package let intersect: EntityDefinition

    /// The roles of users.
    package static let systemUserRoles = ManyToManyRelationship(
        schemaName: "systemuserroles_association", first: .systemUser, second: .role, intersect: .systemUserRoles)
    /// The roles of teams.
    package static let teamRoles = ManyToManyRelationship(
        schemaName: "teamroles_association", first: .team, second: .role, intersect: .teamRoles)
    /// The members of teams.
    package static let teamMembership = ManyToManyRelationship(
        schemaName: "teammembership_association", first: .team, second: .systemUser, intersect: .teamMembership)

    /// The relationship seen from one of its two entities; nil for any other entity.
    package func association(of entity: EntityDefinition) -> Association? {
        if entity === first { return Association(relationship: self, own: first, other: second) }
        return entity === second ? Association(relationship: self, own: second, other: first) : nil
    }
}

extension EntityCatalog {
    /// Every many-to-many relationship.
    package static let manyToMany: [ManyToManyRelationship] = [.systemUserRoles, .teamMembership, .teamRoles]
}

extension EntityDefinition {
    /// The many-to-many relationships of the entity.
    package var associations: [Association] { EntityCatalog.manyToMany.compactMap { $0.association(of: self) } }

    /// The many-to-many relationship of a navigation property.
    package func association(_ property: String) -> Association? {
        associations.first { $0.navigationProperty == property.lowercased() }
    }

    /// Whether the entity's records are the links of a many-to-many relationship.
    package var isIntersect: Bool { EntityCatalog.manyToMany.contains { $0.intersect === self } }
}
