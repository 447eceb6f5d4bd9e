import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

extension EmailParts {
    /// A sender or recipient of an e-mail.
    struct Party: Sendable {
        /// 1 from, 2 To, 3 Cc, 4 Bcc.
        let participation: Int
        /// The systemuser or queue, and the key by which the client names it. After ``EmailParts/resolved(_:)`` the key is an id.
        let record: (entity: EntityDefinition, key: RecordKey)?
        let address: String?
        /// The name for an address that belongs to no record.
        var name: String?

        /// The id of the party's record if the record is of this entity; nil otherwise.
        func id(of entity: EntityDefinition) -> UUID? {
            guard let record, record.entity === entity, case .id(let id) = record.key else { return nil }
            return id
        }
    }

    /// Whether at least one party is a user or a queue.
    var namesRecords: Bool { parties.contains { $0.record != nil } }

    /// Whether at least one party is named by an alternate key.
    var namesPartiesByKey: Bool { parties.contains { $0.record?.key.isAlternate ?? false } }

    /// Refuses words in place of a sender's address, such as `MAILER-DAEMON`, and a sender's name. Refuses an address or a name
    /// that looks like a different one when displayed. An incoming e-mail may have parties that are refused here; a write that
    /// repeats them is accepted.
    ///
    /// - Parameter kept: The parties that the e-mail has now, which are not refused.
    func requireUsable(besides kept: Set<Place> = []) throws(FieldsealError) {
        func text(_ participation: Int, _ address: String?, _ name: String? = nil) -> Place {
            Place(participation: participation, id: nil, address: address, name: name)
        }
        let addresses = Set(kept.map { text($0.participation, $0.address) })
        let names = Set(kept.map { text($0.participation, $0.address, $0.name) })
        for party in parties {
            if let refusal = party.refusalOfAddress, !addresses.contains(text(party.participation, party.address)) { throw refusal }
            if let refusal = party.refusalOfName, !names.contains(text(party.participation, party.address, party.name)) {
                throw refusal
            }
        }
    }

    /// Whether a party has an address or a name that new e-mails may not have.
    var hasUnusableText: Bool { parties.contains { $0.refusalOfAddress != nil || $0.refusalOfName != nil } }

    /// A user, a queue or an address as a party of one kind.
    struct Place: Hashable {
        let participation: Int
        let id: UUID?
        let address: String?
        let name: String?
    }

    /// The parties that an e-mail has.
    func kept(in email: UUID, of organization: Organization, on connection: isolated PostgresConnection) throws -> Set<Place> {
        let rows = try connection.query(
            """
            SELECT participationtypemask, partyid, addressused, partyidname FROM \(organization.qualified("activityparty"))
             WHERE activityid = $1
            """, [.uuid(email)])
        return try Set(
            rows.map { row in
                Place(
                    participation: try row.decode("participationtypemask"), id: try row.decodeIfPresent("partyid"),
                    address: try row.decodeIfPresent("addressused"), name: try row.decodeIfPresent("partyidname"))
            })
    }

    /// The same parts, with an id in place of each alternate key of a party.
    ///
    /// - Parameter id: Returns the id of the record that an alternate key names.
    func resolved(_ id: (EntityDefinition, RecordKey) throws -> UUID) throws -> EmailParts {
        var parts = self
        parts.parties = try parties.map { party in
            guard let (entity, key) = party.record, key.isAlternate else { return party }
            return Party(
                participation: party.participation, record: (entity, .id(try id(entity, key))), address: party.address,
                name: party.name)
        }
        return parts
    }
}

extension EmailParts.Party {
    private static let entity = EntityDefinition.activityParty

    /// - Throws: ``FieldsealError`` naming the member that a party does not accept.
    init(_ value: JSONValue) throws(FieldsealError) {
        guard case .object(let members) = value else {
            throw FieldsealError(.payloadDoesNotFit, "\(EmailParts.partiesProperty) takes an array of parties, as objects.")
        }
        var participation: Int64?
        var address: String?
        var name: String?
        var record: (EntityDefinition, RecordKey)?
        try ParsedValues.requireEachOnce(members, of: Self.entity)
        try ParsedValues.require(type: value["@odata.type"], of: [Self.entity.logicalName])
        for member in members where !member.name.hasPrefix("@") {
            switch (member.name.lowercased(), member.value) {
            case ("participationtypemask", .integer(let mask)) where EmailParts.isParticipation(mask): participation = mask
            case ("participationtypemask", _): throw Self.wrongMask
            case ("addressused", .string(let text)): address = text
            case ("addressused", .null): break
            case ("addressused", _): throw Self.wrongAddress
            case ("partyidname", .string(let text)): name = text
            case ("partyidname", .null): break
            case (_, let value):
                guard let property = member.name.strippingSuffix("@odata.bind") else { throw Self.refusal(of: member.name) }
                record = try Self.record(property, value)
            }
        }
        guard let participation else { throw Self.wrongMask }
        let isSender = participation == Int64(Participation.sender.rawValue)
        if let address, !EmailAddressRule.isOne(address), !(isSender && EmailAddressRule.isSender(address)) {
            throw Self.wrongAddress
        }
        guard address != nil || record != nil else {
            throw FieldsealError(
                .payloadDoesNotFit, "A party has neither partyid, a systemuser or a queue, nor addressused. Give one of them.")
        }
        guard !isSender || address == nil || record == nil else {
            throw FieldsealError(
                .payloadDoesNotFit,
                "addressused of a sender that is a systemuser or a queue is the sender's own address. Leave it out.")
        }
        // The name of a user or a queue comes from its record.
        guard name == nil || record == nil else { throw Self.refusal(of: Self.nameAttribute) }
        // A name without a visible character is replaced by the address, as in an incoming e-mail.
        if let given = name, !EmailNameRule.isSeen(given) { name = nil }
        self.init(participation: Int(participation), record: record, address: address, name: name)
    }

    /// Why a new e-mail may not have the address; nil if it may.
    fileprivate var refusalOfAddress: FieldsealError? {
        guard let address, !EmailAddressRule.isUsable(address) else { return nil }
        return EmailAddressRule.isOne(address) ? Self.deceptiveAddress : Self.wrongAddress
    }

    private static let nameAttribute = "partyidname"

    /// Why a new e-mail may not have the name; nil if it may.
    fileprivate var refusalOfName: FieldsealError? {
        guard let name else { return nil }
        // The sender of an outgoing e-mail is a user or a queue, which has its own name.
        guard participation != Participation.sender.rawValue else { return Self.refusal(of: Self.nameAttribute) }
        guard name.utf16.count <= EmailNameRule.limit else {
            return FieldsealError(
                .stringLengthTooLong,
                "\(Self.nameAttribute) takes at most \(EmailNameRule.limit) characters, and this value has \(name.utf16.count).")
        }
        return EmailNameRule.isUsable(name) ? nil : Self.wrongName
    }

    /// Whether a stored party is the same as this one.
    ///
    /// - Parameter row: Has `partyid`, `partyobjecttypecode`, `partyidname` and `addressused`.
    func isStored(_ row: PostgresRow) throws -> Bool {
        let id: UUID? = try row.decodeIfPresent("partyid")
        let type: String? = try row.decodeIfPresent("partyobjecttypecode")
        let address: String? = try row.decodeIfPresent("addressused")
        guard let record else {
            let name: String? = try row.decodeIfPresent("partyidname")
            return id == nil && self.address == address && (self.name == nil || self.name == name)
        }
        return id != nil && self.id(of: record.entity) == id && record.entity.logicalName == type
            && (self.address == nil || self.address == address)
    }

    /// The record that a navigation property of `partyid` refers to.
    private static func record(_ property: String, _ value: JSONValue) throws(FieldsealError) -> (EntityDefinition, RecordKey) {
        guard let relationship = entity.singleValued(property), relationship.attribute.logicalName == "partyid" else {
            throw refusal(of: "\(property)@odata.bind")
        }
        let target = relationship.referenced
        guard let address = value.string, let (found, key) = try ParsedValues.reference(address), found === target else {
            throw FieldsealError(
                .payloadDoesNotFit,
                "\(property) of a party takes the address of \(target.withArticle), such as /\(target.entitySetName)(ID).")
        }
        _ = try key.filter(found)
        return (found, key)
    }

    private static func refusal(of name: String) -> FieldsealError {
        FieldsealError(
            .payloadDoesNotFit,
            "A party takes no \(name.quotedForMessage). It takes participationtypemask, and addressused or "
                + "partyid_systemuser@odata.bind or partyid_queue@odata.bind.")
    }

    private static let wrongMask = FieldsealError(
        .payloadDoesNotFit, "participationtypemask of a party takes 1 (from), 2 (To), 3 (Cc) or 4 (Bcc).")
    private static let deceptiveAddress = FieldsealError(
        .payloadDoesNotFit,
        "addressused of a party takes no invisible characters, and none that change the direction of text.")
    private static let wrongName = FieldsealError(
        .payloadDoesNotFit,
        "partyidname of a party takes a name in one line, without characters that change the direction of text.")
    private static let wrongAddress = FieldsealError(
        .payloadDoesNotFit, "addressused of a party must be one e-mail address of at most 320 bytes.")
}
