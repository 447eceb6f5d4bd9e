import Foundation
import JSON
import Model

// The names of a record's properties in a write, and the errors for names that can't be written.
extension ParsedValues {
    /// The refusal of a member that sets no attribute, with what the client could have meant.
    func refusal(ofUnknown name: String, isBound: Bool = false) -> FieldsealError {
        let what = entity.logicalName
        if let attribute = entity[name.lowercased()], attribute.type.isReference {
            return FieldsealError(
                .payloadDoesNotFit,
                "\(what) has no navigation property \(name.quotedForMessage): it refers to records of several entities. Write "
                    + "\(binding(of: attribute)).")
        }
        if let attribute = entity.attribute(named: name), !isBound {
            return FieldsealError(
                .payloadDoesNotFit,
                "\(attribute.propertyName) gives the id of the record that \(attribute.logicalName) refers to, and is read only. Write "
                    + "\(binding(of: attribute)) with its address.")
        }
        if entity.association(name) != nil {
            return FieldsealError(
                .payloadDoesNotFit,
                "\(name) of \(what) is a collection, which a new record takes, and an update does not. Add one record at a time with POST "
                    + "to \(entity.entitySetName)(ID)/\(name)/$ref.")
        }
        if entity.collectionValued(name) != nil {
            return FieldsealError(
                .payloadDoesNotFit,
                "\(name) of \(what) is a collection, which a new record takes, and an update does not. Write to the address "
                    + "\(entity.entitySetName)(ID)/\(name), or to its $ref.")
        }
        if entity.singleValued(name) != nil {
            return FieldsealError(
                .payloadDoesNotFit,
                "\(name) of \(what) refers to a record, and an update takes no values of it. Write \(name)@odata.bind with its address."
            )
        }
        if entity === EntityDefinition.email, ["from", "to", "cc", "bcc"].contains(name.lowercased()) {
            return FieldsealError(
                .payloadDoesNotFit,
                "\(name) is not an attribute of the Web API. Write email_activity_parties, each party with its participationtypemask."
            )
        }
        guard isBound else { return FieldsealError(.payloadDoesNotFit, "\(what) has no attribute \(name.quotedForMessage).") }
        return FieldsealError(.payloadDoesNotFit, "\(what) has no navigation property \(name.quotedForMessage).")
    }

    /// Refuses an `@odata.type` of a property that is not a type of the attribute.
    func require(type: JSONValue, of property: String) throws(FieldsealError) {
        guard let name = type.string, let attribute = entity.attribute(named: property), !attribute.type.isReference else { return }
        let types = attribute.type.valueTypes
        guard let last = name.split(whereSeparator: { "#.".contains($0) }).last, types.contains(String(last)) else {
            throw FieldsealError(
                .payloadDoesNotFit, "\(attribute.logicalName) is of the type \(types[0]), and not of the one in its @odata.type.")
        }
    }

    /// The members with which a client sets a lookup, such as `emailserverprofile@odata.bind`, for an error text.
    func binding(of attribute: AttributeDefinition) -> String {
        let names = entity.navigationProperties(of: attribute)
        return (names.isEmpty ? [attribute.logicalName] : names).map { "\($0)@odata.bind" }.joined(separator: " or ")
    }
}

extension AttributeType {
    /// The names of the primitive types that a value may have in JSON. The type in the metadata comes first.
    fileprivate var valueTypes: [String] {
        switch self {
        case .string, .memo, .entityName: ["String"]
        case .picklist, .integer, .state, .status: ["Int32", "Int16", "Byte", "SByte"]
        case .bigInt: ["Int64", "Int32", "Int16", "Byte", "SByte"]
        case .boolean: ["Boolean"]
        case .decimal: ["Decimal", "Double", "Single", "Int64", "Int32", "Int16"]
        case .dateTime: ["DateTimeOffset", "Date"]
        case .uniqueIdentifier, .lookup, .owner: ["Guid"]
        case .image: ["Binary", "Stream"]
        }
    }
}

extension EntityDefinition {
    /// Whether a required attribute may have an empty text. True if the default is an empty text; false for a record's name, which
    /// is never empty.
    func keepsEmptyText(_ attribute: AttributeDefinition) -> Bool {
        guard attribute.required == .system, attribute.logicalName != primaryName else { return false }
        return if case .value(.text(""))? = attribute.serverDefault { true } else { false }
    }

    /// The lookup of a navigation property. If this service has none of a lookup's entities, the metadata has no property for the
    /// lookup. Such a lookup is found by the names that Dataverse gives the property: LOOKUP, LOOKUP_ENTITY, and each of the two
    /// followed by this entity's name.
    func lookup(boundBy property: String) -> AttributeDefinition? {
        if let relationship = singleValued(property) { return relationship.attribute }
        let name = property.lowercased()
        guard let attribute = self[String(name.prefix { $0 != "_" })], attribute.type.isReference, attribute.knownTargets.isEmpty
        else { return nil }
        let lookup = attribute.logicalName
        let names =
            [lookup, "\(lookup)_\(logicalName)"]
            + attribute.type.targets.flatMap { ["\(lookup)_\($0)", "\(lookup)_\($0)_\(logicalName)"] }
        return names.contains(name) ? attribute : nil
    }

    /// Whether records have a property of that name, which may be annotated.
    func hasProperty(_ name: String) -> Bool {
        attribute(named: name) != nil || lookup(boundBy: name) != nil || collectionValued(name) != nil || association(name) != nil
    }
}
