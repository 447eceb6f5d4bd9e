/// A many-to-many relationship, seen from one of its ends.
package struct Association: Sendable {
    package let relationship: ManyToManyRelationship
    /// The entity at the end from which the relationship is seen.
    package let own: EntityDefinition
    package let other: EntityDefinition

    /// The collection-valued navigation property.
    package var navigationProperty: String { relationship.schemaName }
}
