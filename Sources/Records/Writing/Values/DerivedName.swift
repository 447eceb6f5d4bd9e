import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

/// The column with the name of the record that a lookup refers to. It has the name that the record had when the lookup was written.
struct DerivedName {
    let column: String
    private let named: [(target: EntityDefinition, name: AttributeDefinition)]
    private let kept: AttributeType

    init?(_ attribute: AttributeDefinition, of entity: EntityDefinition, isTeam: Bool = false) {
        guard attribute.type.isReference, let derived = entity["\(attribute.logicalName)name"] else { return nil }
        let all = attribute.namedTargets
        // An owner is either a user or a team, so the name is read in only one of the two tables.
        let owners = all.filter { ($0.target === EntityDefinition.team) == isTeam }
        named = owners.isEmpty || !attribute.type.targets.contains("team") ? all : owners
        guard !named.isEmpty else { return nil }
        (column, kept) = (derived.logicalName, derived.type)
    }

    func expression(in organization: Organization, placeholder: String) -> String {
        let names = named.map { target, name in
            "(SELECT \(shortened(name)) FROM \(organization.qualified(target.logicalName)) WHERE \(target.idColumn) = \(placeholder))"
        }
        return names.count == 1 ? names[0] : "coalesce(\(names.joined(separator: ", ")))"
    }

    /// The name, cut to the length of its column.
    private func shortened(_ name: AttributeDefinition) -> String {
        guard case .string(let limit) = kept, case .string(let length) = name.type, limit < length else { return name.column }
        return "left(\(name.column), \(limit))"
    }
}
