import JSON
import Model
import Tenancy

/// Metadata in the Web API's form, with the additional members of the SDK's classes.
enum MetadataParts {
    /// The requested parts of an entity (`EntityFilters`).
    struct Filters: OptionSet, Sendable {
        let rawValue: UInt8
        static let attributes = Filters(rawValue: 1)
        static let privileges = Filters(rawValue: 2)
        static let relationships = Filters(rawValue: 4)
        static let all: Filters = [.attributes, .privileges, .relationships]

        /// Parses the names of flags, such as `Entity Attributes`.
        ///
        /// - Returns: Nil for an unknown name.
        init?(words: String) {
            self = []
            for word in words.split(separator: " ") {
                switch word {
                case "Entity", "Default": continue
                case "Attributes": insert(.attributes)
                case "Privileges": insert(.privileges)
                case "Relationships": insert(.relationships)
                case "All": formUnion(.all)
                default: return nil
                }
            }
        }

        init(rawValue: UInt8) { self.rawValue = rawValue }
    }

    static func entity(_ entity: EntityDefinition, _ filters: Filters) -> JSONValue {
        guard case .object(var members) = MetadataJSON.entity(entity) else { return .null }
        if filters.contains(.attributes) {
            members.append(.init("Attributes", .array(entity.attributes.map { attribute($0, of: entity) })))
            members.append(.init("Keys", .array(MetadataJSON.keys(of: entity))))
        }
        if !filters.contains(.privileges) { members.removeAll { $0.name == "Privileges" } }
        if filters.contains(.relationships) {
            members.append(
                .init("ManyToManyRelationships", .array(entity.associations.map { MetadataJSON.relationship($0.relationship) })))
            members.append(.init("ManyToOneRelationships", .array(entity.manyToOne.map { MetadataJSON.relationship($0) })))
            members.append(.init("OneToManyRelationships", .array(entity.oneToMany.map { MetadataJSON.relationship($0) })))
        }
        return .object(members)
    }

    static func attribute(_ attribute: AttributeDefinition, of entity: EntityDefinition) -> JSONValue {
        guard case .object(var members) = MetadataJSON.attribute(attribute, of: entity) else { return .null }
        if let options = MetadataJSON.optionSet(attribute, of: entity) { members.append(.init("OptionSet", options)) }
        return .object(members)
    }
}
