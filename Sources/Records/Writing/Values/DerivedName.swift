import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

/// The column with the name of the record that a lookup refers to, as it was at the last write.
struct DerivedName {
    let column: String
    private let target: EntityDefinition
    private let nameColumn: String
    /// How many characters of a longer name are kept.
    private let limit: Int?

    init?(_ attribute: AttributeDefinition, of entity: EntityDefinition, isTeam: Bool = false) {
        guard attribute.type.isReference, let derived = entity["\(attribute.logicalName)name"] else { return nil }
        let targets = attribute.type.targets
        let target = isTeam && targets.contains("team") ? "team" : targets.first { $0 != "team" } ?? "team"
        guard let entity = EntityCatalog.entity(target), let name = entity.primaryName else { return nil }
        column = derived.logicalName
        self.target = entity
        nameColumn = name
        limit =
            if case .string(let kept) = derived.type, case .string(let length)? = entity[name]?.type, kept < length { kept } else {
                nil
            }
    }

    func expression(in organization: Organization, placeholder: String) -> String {
        let name = quoteIdentifier(nameColumn)
        return "(SELECT \(limit.map { "left(\(name), \($0))" } ?? name) FROM \(organization.qualified(target.logicalName)) "
            + "WHERE \(target.idColumn) = \(placeholder))"
    }
}
