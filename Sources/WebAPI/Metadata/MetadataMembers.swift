import JSON
import Model
import Records

/// The members that each kind of metadata has, such as entities or attributes, and the values that enumerations have.
enum MetadataMembers {
    static let entity = names(of: EntityCatalog.all.map(MetadataJSON.entity)).union([
        "Attributes", "Keys", "OneToManyRelationships", "ManyToOneRelationships", "ManyToManyRelationships",
    ])
    static let attribute = names(
        of: EntityCatalog.all.flatMap { entity in entity.attributes.map { MetadataJSON.attribute($0, of: entity) } }
    ).union(["OptionSet", "GlobalOptionSet"])
    static let relationship = names(
        of: EntityCatalog.relationships.map { MetadataJSON.relationship($0) }
            + EntityCatalog.manyToMany.map { MetadataJSON.relationship($0) })
    static let key = Set(MetadataShapes.key)
    static let optionSet = Set(MetadataShapes.optionSet + ["Options", "TrueOption", "FalseOption", "ParentOptionSetName"])

    private static func names(of values: [JSONValue]) -> Set<String> {
        var names: Set<String> = []
        for case .object(let members) in values { names.formUnion(members.map(\.name)) }
        return names
    }

    /// The values of enumerations, by member.
    private static let enumerations: [String: Set<String>] = [
        "AttributeType": [
            "BigInt", "Boolean", "CalendarRules", "Customer", "DateTime", "Decimal", "Double", "EntityName", "Integer", "Lookup",
            "ManagedProperty", "Memo", "Money", "Owner", "PartyList", "Picklist", "State", "Status", "String", "Uniqueidentifier",
            "Virtual",
        ],
        "OwnershipType": [
            "BusinessOwned", "BusinessParented", "Filtered", "None", "OrganizationOwned", "TeamOwned", "UserOwned",
        ],
        "RelationshipType": ["Default", "ManyToManyRelationship", "OneToManyRelationship"],
        "EntityKeyIndexStatus": ["Active", "Failed", "InProgress", "Pending"],
        "OptionSetType": ["Boolean", "Picklist", "State", "Status"],
    ]

    /// Refuses impossible comparisons of a member: with an unknown name of its enumeration, or with a value of another type.
    ///
    /// - Parameter known: The kinds of values that the members of the filtered metadata have.
    static func check(_ column: RecordQuery.Column, _ literal: Literal, in known: inout MetadataKinds) throws(FieldsealError) {
        if case .text(let text) = literal { try requireKnown(text, of: column.name) }
        let kinds = try known.kinds(of: column)
        guard let kind = kind(of: literal), !kinds.isEmpty, !kinds.contains(kind) else { return }
        throw FieldsealError(
            .queryDoesNotFit,
            "\(column.name) is compared with \(kinds.sorted().map(\.withArticle).joined(separator: " or ")), and not with \(kind.withArticle)."
        )
    }

    /// Refuses a text that is not a value of the member's enumeration.
    static func requireKnown(_ text: String, of member: String) throws(FieldsealError) {
        guard let known = enumerations[member], !known.contains(text) else { return }
        throw FieldsealError(.queryDoesNotFit, "\(member) is never '\(text.prefix(50))'.")
    }

    static func kind(of value: JSONValue) -> String? {
        switch value {
        case .string: "text"
        case .bool: "boolean"
        case .integer, .number: "number"
        default: nil
        }
    }

    private static func kind(of literal: Literal) -> String? {
        switch literal {
        case .text: "text"
        case .bool: "boolean"
        case .number: "number"
        default: nil
        }
    }

    // MARK: Queries of RetrieveMetadataChanges

    /// Refuses members in a metadata query that the queried kind of metadata does not have.
    static func check(_ query: JSONValue?, of known: Set<String>) throws(FieldsealError) {
        guard let query, query != .null else { return }
        try requireMembers(query, queryMembers, "A query of metadata")
        try requireMembers(query["Properties"], ["AllProperties", "PropertyNames"], "Properties")
        try check(criteria: query["Criteria"], of: known)
        guard case .array(let names)? = query["Properties"]?["PropertyNames"] else { return }
        for name in names { try require(name.string, of: known) }
    }

    private static func check(criteria: JSONValue?, of known: Set<String>) throws(FieldsealError) {
        try requireMembers(criteria, ["Conditions", "FilterOperator", "Filters"], "A filter of metadata")
        if case .array(let conditions)? = criteria?["Conditions"] {
            for condition in conditions {
                try requireMembers(condition, ["ConditionOperator", "PropertyName", "Value"], "A condition of metadata")
                try require(condition["PropertyName"]?.string, of: known)
                try requireValue(condition["PropertyName"]?.string)
            }
        }
        guard case .array(let filters)? = criteria?["Filters"] else { return }
        for filter in filters { try check(criteria: filter, of: known) }
    }

    /// Members that hold other metadata, not a value.
    static let related: Set<String> = [
        "Attributes", "Keys", "OneToManyRelationships", "ManyToOneRelationships", "ManyToManyRelationships", "OptionSet",
        "GlobalOptionSet",
    ]

    /// Refuses a condition on a member that holds other metadata, because the condition could never be true.
    private static func requireValue(_ name: String?) throws(FieldsealError) {
        guard let name, related.contains(name) else { return }
        throw FieldsealError(
            .badRequest,
            "\(name) is not a value that a condition compares. AttributeQuery, KeyQuery and RelationshipQuery have conditions.")
    }

    private static let queryMembers: Set<String> = [
        "AttributeQuery", "Criteria", "KeyQuery", "LabelQuery", "Properties", "RelationshipQuery",
    ]

    /// Refuses a part of a query that is not an object, and members that such a part can't have.
    private static func requireMembers(_ value: JSONValue?, _ known: Set<String>, _ what: String) throws(FieldsealError) {
        guard let value, value != .null else { return }
        guard case .object(let members) = value else { throw FieldsealError(.badRequest, "\(what) must be an object.") }
        for member in members where !known.contains(member.name) && !member.name.contains("@") && member.value != .null {
            throw FieldsealError(.badRequest, "\(what) has no member '\(member.name.prefix(100))'.")
        }
    }

    private static func require(_ name: String?, of known: Set<String>) throws(FieldsealError) {
        guard let name else {
            throw FieldsealError(
                .badRequest, "A condition of a metadata query must have a PropertyName, and PropertyNames must be texts.")
        }
        guard !known.contains(name) else { return }
        throw FieldsealError(.badRequest, "This metadata has no member '\(name.prefix(100))'.")
    }
}
