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

    /// Attributes of a party that clients send back and that do not identify it.
    private static let given: Set<String> = [
        "activityid", "activitypartyid", "participationtypemask", "partyidname", "partyobjecttypecode", "ispartydeleted",
        "donotemail", "donotfax", "donotphone", "donotpostalmail", "addressusedemailcolumnnumber", "effort", "exchangeentryid",
        "scheduledend", "scheduledstart", "versionnumber",
    ]

    /// - Returns: Whether the attribute is such a list.
    mutating func take(_ name: String, _ value: ContractValue) throws(FieldsealError) -> Bool {
        guard let mask = Self.masks.first(where: { $0.name == name })?.mask else { return false }
        named.append(.integer(mask))
        switch value {
        case .null: break
        case .entities(let entities):
            for entity in entities { parties.append(try Self.party(entity, mask)) }
            guard parties.count <= EmailParts.limit else {
                throw FieldsealError(.payloadDoesNotFit, "An e-mail has at most \(EmailParts.limit) parties in all of its lists.")
            }
        default: throw FieldsealError(.payloadDoesNotFit, "\(name) takes an EntityCollection of activityparty.")
        }
        return true
    }

    private static func party(_ party: ContractEntity, _ mask: Int64) throws(FieldsealError) -> JSONValue {
        guard party.entity.logicalName == EntityDefinition.activityParty.logicalName else {
            throw FieldsealError(.payloadDoesNotFit, "A list of parties holds records of activityparty.")
        }
        var members: [JSONValue.Member] = [.init("participationtypemask", .integer(mask))]
        // The address of a sender that is a record is the record's address.
        let isOwnAddress =
            mask == 1 && party.attributes.contains { if case .reference = $0.value { $0.name == "partyid" } else { false } }
        for (name, value) in party.attributes where !given.contains(name) && !(isOwnAddress && name == "addressused") {
            switch (name, value) {
            case ("partyid", .reference(let reference)):
                guard EntityDefinition.activityParty.singleValued("partyid_\(reference.entity.logicalName)") != nil else {
                    throw FieldsealError(.payloadDoesNotFit, "partyid refers to a systemuser or a queue.")
                }
                members.append(.init("partyid_\(reference.entity.logicalName)@odata.bind", .string(try reference.address())))
            case ("addressused", .text(let text)): members.append(.init("addressused", .string(text)))
            case ("partyid", .null), ("addressused", .null): continue
            default:
                throw FieldsealError(
                    .payloadDoesNotFit,
                    "A party takes partyid, an EntityReference, or addressused, a string; not \(name.quotedForFault).")
            }
        }
        return .object(members)
    }

    /// The lists in the form that writes accept. Named lists are replaced, and the others stay.
    var members: [JSONValue.Member] {
        guard !named.isEmpty else { return [] }
        return [
            .init("email_activity_parties", .array(parties)),
            .init("email_activity_parties@fieldseal.participationtypemasks", .array(named)),
        ]
    }
}
