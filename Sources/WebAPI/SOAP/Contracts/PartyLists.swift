import Foundation
import JSON
import Model
import Records

/// The lists of an e-mail's parties in a request.
struct PartyLists {
    /// The lists' names, and the participation type of each.
    static let masks = [("from", Participation.sender), ("to", .to), ("cc", .cc), ("bcc", .bcc)].map { name, part in
        (name: name, mask: Int64(part.rawValue))
    }

    private var parties: [JSONValue] = []
    private var named: [JSONValue] = []

    /// - Parameter email: The id of the e-mail, if it has one.
    /// - Returns: Whether the attribute is a list of parties.
    mutating func take(_ name: String, _ value: ContractValue, of email: UUID?) throws(FieldsealError) -> Bool {
        guard let mask = Self.masks.first(where: { $0.name == name })?.mask else { return false }
        named.append(.integer(mask))
        switch value {
        case .null: break
        case .entities(let entities):
            for entity in entities { parties.append(try Self.party(entity, mask, of: email)) }
            guard parties.count <= EmailParts.limit else {
                throw FieldsealError(.payloadDoesNotFit, "An e-mail has at most \(EmailParts.limit) parties in all of its lists.")
            }
        default: throw FieldsealError(.payloadDoesNotFit, "\(name) takes an EntityCollection of activityparty.")
        }
        return true
    }

    private static func party(_ party: ContractEntity, _ mask: Int64, of email: UUID?) throws(FieldsealError) -> JSONValue {
        guard party.entity.logicalName == EntityDefinition.activityParty.logicalName else {
            throw FieldsealError(.payloadDoesNotFit, "A list of parties must hold records of activityparty.")
        }
        var members: [JSONValue.Member] = [.init("participationtypemask", .integer(mask))]
        // If the sender is a user or a queue, the service uses the address of that record, and ignores `addressused`.
        let isOwnAddress = mask == 1 && party.partyReference != nil
        for (name, value) in party.attributes {
            switch (name, value) {
            case ("partyid", .reference(let reference)):
                guard EntityDefinition.activityParty.singleValued("partyid_\(reference.entity.logicalName)") != nil else {
                    throw FieldsealError(.payloadDoesNotFit, "partyid must refer to a systemuser or a queue.")
                }
                members.append(.init("partyid_\(reference.entity.logicalName)@odata.bind", .string(try reference.address())))
            case ("addressused", .text(let text)):
                if !isOwnAddress { members.append(.init("addressused", .string(text))) }
            case ("partyidname", .text(let text)) where party.partyReference == nil:
                // If a party has no name, `partyidname` is its address.
                if text != party.address { members.append(.init("partyidname", .string(text))) }
            case (_, .null) where EntityDefinition.activityParty[name] != nil: continue
            case ("partyid", _), ("addressused", _): throw refusal(of: name)
            default: try requireGiven(name, value, party, mask, email)
            }
        }
        return .object(members)
    }

    /// Refuses an attribute of a party whose value differs from the value that the service itself sets. Clients may send such
    /// attributes back as they retrieved them.
    private static func requireGiven(
        _ name: String, _ value: ContractValue, _ party: ContractEntity, _ mask: Int64, _ email: UUID?
    ) throws(FieldsealError) {
        guard let attribute = EntityDefinition.activityParty[name] else { throw refusal(of: name) }
        if let expectation = attribute.type.expectation(unmetBy: value) {
            throw FieldsealError(.payloadDoesNotFit, "\(name) takes \(expectation), not \(value.kind).")
        }
        let isGiven: Bool =
            switch (name, value) {
            // A party that is written again gets a new id and version, so old ids and versions are accepted.
            case ("activitypartyid", .text(let id)): UUID(clientText: id) != nil
            case ("activitypartyid", _), ("versionnumber", _): true
            case ("activityid", .reference(let reference)):
                reference.entity === EntityDefinition.email && email != nil && reference.id == email
            case ("participationtypemask", .option(let number)), ("participationtypemask", .integer(let number)): number == mask
            case ("partyobjecttypecode", .text(let type)):
                party.partyReference?.entity.logicalName == type
            case ("partyidname", .text(let text)): party.partyReference?.name == text
            case (_, .bool(let flag)): !flag
            default: false
            }
        guard isGiven else {
            throw FieldsealError(
                .payloadDoesNotFit,
                "The \(name) of a party is not set by a request, and this is not what the party has. Leave it out.")
        }
    }

    private static func refusal(of name: String) -> FieldsealError {
        FieldsealError(
            .payloadDoesNotFit,
            "A party takes partyid, an EntityReference, or addressused, a string; not \(name.quotedForFault).")
    }

    /// The lists in the form that writes accept. Lists that the request names are replaced, and the e-mail's other lists stay.
    var members: [JSONValue.Member] {
        guard !named.isEmpty else { return [] }
        return [
            .init("email_activity_parties", .array(parties)),
            .init("email_activity_parties@fieldseal.participationtypemasks", .array(named)),
        ]
    }
}

extension ContractEntity {
    /// The address that a request has for a party.
    fileprivate var address: String? { attributes.first { $0.name == "addressused" }?.value.text }

    /// The record that a party refers to.
    fileprivate var partyReference: ContractReference? {
        for attribute in attributes where attribute.name == "partyid" {
            if case .reference(let reference) = attribute.value { return reference }
        }
        return nil
    }
}

extension ContractValue {
    fileprivate var text: String? { if case .text(let text) = self { text } else { nil } }
}
