import Foundation
import Model

/// A request of Execute: its name, and its parameters.
struct OrganizationRequest: Sendable {
    let name: String
    private let parameters: [(key: String, value: XMLElement)]

    /// Parameters for features that this service does not have, such as duplicate detection. These parameters have no effect.
    private static let ignored: Set<String> = [
        "suppressduplicatedetection", "calculatematchcodesynchronously", "solutionuniquename", "maintainlegacyappserverbehavior",
        "bypasscustompluginexecution", "bypassbusinesslogicexecution", "bypassbusinesslogicexecutionstepids",
        "suppresscallbackregistrationexpanderjob", "tag", "returnnotifications", "performparentingoperations",
    ]

    /// - Throws: ``FieldsealError`` for a request without a name, or with two different names.
    init(_ element: XMLElement) throws(FieldsealError) {
        let members = try ContractMembers(
            element, of: "OrganizationRequest", ["Parameters", "RequestName"], ignoring: ["RequestId"])
        if let type = element.type, !type.local.hasSuffix("Request") {
            throw FieldsealError(
                .payloadDoesNotFit, "The i:type of a request must be a kind of request, and not \(type.local.quotedForFault).")
        }
        let typed = element.type.flatMap { $0.local == "OrganizationRequest" ? nil : String($0.local.dropLast(7)) }
        guard let name = members.text("RequestName") ?? typed, !name.isEmpty else {
            throw FieldsealError(.payloadDoesNotFit, "A request has no RequestName.")
        }
        guard typed == nil || typed == name else {
            throw FieldsealError(
                .payloadDoesNotFit,
                "The request's type \((typed ?? "").quotedForFault) does not match its RequestName \(name.quotedForFault).")
        }
        self.name = name
        parameters = try ContractPairs.read(members["Parameters"], "Parameters")
    }

    /// Refuses a parameter whose name is not in `names`.
    func take(_ names: String...) throws(FieldsealError) {
        for (key, value) in parameters where !names.contains(key) && !value.isNil {
            guard !Self.ignored.contains(key.lowercased()) else { continue }
            throw FieldsealError(.payloadDoesNotFit, "\(name) has no parameter \(key.quotedForFault) that this service knows.")
        }
    }

    func element(_ name: String) -> XMLElement? { parameters.first { $0.key == name && !$0.value.isNil }?.value }

    /// - Returns: Nil for a parameter that is missing or null.
    func value(_ name: String) throws(FieldsealError) -> ContractValue? {
        guard let element = element(name) else { return nil }
        return try ContractValue(element, of: name)
    }

    func mismatch(_ parameter: String, _ expectation: String) -> FieldsealError {
        FieldsealError(.payloadDoesNotFit, "\(name) takes \(parameter): \(expectation).")
    }

    func text(_ name: String) throws(FieldsealError) -> String? {
        switch try value(name) {
        case nil, .null?: return nil
        case .text(let text)?: return text
        default: throw mismatch(name, "a string")
        }
    }

    func bool(_ name: String) throws(FieldsealError) -> Bool? {
        switch try value(name) {
        case nil, .null?: return nil
        case .bool(let flag)?: return flag
        default: throw mismatch(name, "a boolean")
        }
    }

    func id(_ name: String) throws(FieldsealError) -> UUID? {
        switch try value(name) {
        case nil, .null?: return nil
        case .id(let id)?: return id.unlessEmpty
        default: throw mismatch(name, "a guid")
        }
    }

    func option(_ name: String) throws(FieldsealError) -> Int64? {
        switch try value(name) {
        case nil, .null?: return nil
        case .option(let number)?: return number
        default: throw mismatch(name, "an OptionSetValue")
        }
    }

    /// The name of an enumeration's value, such as `IfRowVersionMatches`.
    func word(_ name: String) throws(FieldsealError) -> String? {
        guard let element = element(name) else { return nil }
        guard !element.hasChildren else { throw mismatch(name, "the name of a value") }
        return element.text
    }

    func reference(_ name: String) throws(FieldsealError) -> ContractReference {
        guard case .reference(let reference)? = try value(name) else { throw mismatch(name, "an EntityReference") }
        return reference
    }

    func references(_ name: String) throws(FieldsealError) -> [ContractReference] {
        guard case .list(let values)? = try value(name) else { throw mismatch(name, "an EntityReferenceCollection") }
        var references: [ContractReference] = []
        for value in values {
            guard case .reference(let reference) = value else { throw mismatch(name, "an EntityReferenceCollection") }
            references.append(reference)
        }
        return references
    }

    func ids(_ name: String) throws(FieldsealError) -> [UUID] {
        guard case .list(let values)? = try value(name) else { throw mismatch(name, "an array of guids") }
        var ids: [UUID] = []
        for value in values {
            guard case .id(let id) = value else { throw mismatch(name, "an array of guids") }
            ids.append(id)
        }
        return ids
    }

    func entity(_ name: String) throws(FieldsealError) -> ContractEntity {
        guard element(name)?.type?.local != "EntityCollection", case .entities(let entities)? = try value(name), entities.count == 1
        else { throw mismatch(name, "an Entity") }
        return entities[0]
    }

    func entities(_ name: String) throws(FieldsealError) -> [ContractEntity] {
        guard element(name)?.type?.local == "EntityCollection", case .entities(let entities)? = try value(name) else {
            throw mismatch(name, "an EntityCollection")
        }
        return entities
    }
}
