import Foundation
import JSON
import Model

/// An `EntityQueryExpression`: the requested entities and members.
struct MetadataQuery {
    private let criteria: JSONValue?
    private let properties: Set<String>?
    private let attributes: Part?
    private let relationships: Part?
    private let keys: Part?

    /// The query for one kind of an entity's parts, such as its attributes.
    private struct Part {
        let criteria: JSONValue?
        let properties: Set<String>?

        init(_ element: XMLElement) throws(FieldsealError) {
            let members = try ContractMembers(element, of: "MetadataQueryExpression", ["Criteria", "Properties"])
            criteria = try members["Criteria"].map { element throws(FieldsealError) in try MetadataQuery.criteria(element) }
            properties = try MetadataQuery.properties(members["Properties"])
        }

        func selected(_ values: [JSONValue]) throws(FieldsealError) -> [JSONValue] {
            var selected: [JSONValue] = []
            for value in values where try MetadataView.matches(value, criteria) {
                selected.append(MetadataQuery.selected(value, properties))
            }
            return selected
        }
    }

    init(_ element: XMLElement) throws(FieldsealError) {
        let members = try ContractMembers(
            element, of: "EntityQueryExpression",
            ["Criteria", "Properties", "AttributeQuery", "KeyQuery", "RelationshipQuery"], ignoring: ["LabelQuery"])
        criteria = try members["Criteria"].map { element throws(FieldsealError) in try Self.criteria(element) }
        properties = try Self.properties(members["Properties"])
        attributes = try members["AttributeQuery"].map { element throws(FieldsealError) in try Part(element) }
        relationships = try members["RelationshipQuery"].map { element throws(FieldsealError) in try Part(element) }
        keys = try members["KeyQuery"].map { element throws(FieldsealError) in try Part(element) }
    }

    /// The criteria in the Web API's form.
    private static func criteria(_ element: XMLElement, depth: Int = 0) throws(FieldsealError) -> JSONValue {
        guard depth < 20 else { throw FieldsealError(.badRequest, "Criteria may be nested at most 20 levels deep.") }
        let members = try ContractMembers(
            element, of: "MetadataFilterExpression", ["Conditions", "FilterOperator", "Filters"])
        var conditions: [JSONValue] = []
        for child in members["Conditions"]?.children ?? .empty {
            let condition = try ContractMembers(
                child, of: "MetadataConditionExpression", ["ConditionOperator", "PropertyName", "Value"])
            let value = try condition["Value"].map { element throws(FieldsealError) in try Self.value(element) } ?? .null
            conditions.append([
                "PropertyName": .text(condition.text("PropertyName")),
                "ConditionOperator": .text(condition.text("ConditionOperator")),
                "Value": value,
            ])
        }
        var filters: [JSONValue] = []
        for child in members["Filters"]?.children ?? .empty { filters.append(try criteria(child, depth: depth + 1)) }
        return [
            "Conditions": .array(conditions), "FilterOperator": .text(members.text("FilterOperator")), "Filters": .array(filters),
        ]
    }

    private static func value(_ element: XMLElement) throws(FieldsealError) -> JSONValue {
        switch try ContractValue(element, of: "Value") {
        case .null: return .null
        case .bool(let flag): return .bool(flag)
        case .integer(let number), .option(let number): return .integer(number)
        case .text(let text): return .string(text)
        case .id(let id): return .string(id.text)
        case .list(let values):
            return .array(
                values.compactMap { value in
                    switch value {
                    case .text(let text): .string(text)
                    case .integer(let number): .integer(number)
                    case .id(let id): .string(id.text)
                    default: nil
                    }
                })
        // A value of an enumeration, such as AttributeTypeCode.
        case .other(let element): return .string(element.text)
        default: throw FieldsealError(.badRequest, "A condition of a metadata query has a value that is not supported.")
        }
    }

    /// - Returns: Nil for all properties.
    private static func properties(_ element: XMLElement?) throws(FieldsealError) -> Set<String>? {
        guard let element else { return [] }
        let members = try ContractMembers(element, of: "MetadataPropertiesExpression", ["AllProperties", "PropertyNames"])
        if try members.bool("AllProperties") ?? false { return nil }
        return Set(members["PropertyNames"]?.children.map(\.text) ?? [])
    }

    static func selected(_ value: JSONValue, _ names: Set<String>?) -> JSONValue {
        guard let names, case .object(let members) = value else { return value }
        // The type, the id and the names of a value are always written.
        return .object(
            members.filter {
                names.contains($0.name) || ["@odata.type", "MetadataId", "LogicalName", "SchemaName"].contains($0.name)
            })
    }

    /// - Returns: Nil for an entity that does not match the criteria.
    func selected(_ entity: EntityDefinition) throws(FieldsealError) -> JSONValue? {
        guard case .object(let members) = MetadataParts.entity(entity, .all),
            try MetadataView.matches(.object(members), criteria)
        else { return nil }
        var kept: [JSONValue.Member] = []
        for member in members {
            guard case .array(let values) = member.value else {
                kept.append(member)
                continue
            }
            let part =
                switch member.name {
                case "Attributes": attributes
                case "Keys": keys
                case "ManyToManyRelationships", "ManyToOneRelationships", "OneToManyRelationships": relationships
                default: nil as Part?
                }
            kept.append(.init(member.name, .array(try part?.selected(values) ?? values)))
        }
        return Self.selected(.object(kept), properties)
    }
}
