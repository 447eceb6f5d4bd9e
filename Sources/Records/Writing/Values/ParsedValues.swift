import Foundation
package import JSON
package import Model

/// A client's values for a record, checked against the entity's metadata. No value belongs to an unknown attribute, has a wrong
/// type, or is too long.
package struct ParsedValues: Sendable {
    let entity: EntityDefinition
    /// Values of plain attributes.
    private(set) var values: [String: AttributeValue] = [:]
    /// New values of encrypted attributes; nil to clear.
    private(set) var secrets: [String: String?] = [:]
    /// References to records that must exist and whose ids are not resolved yet.
    private(set) var references: [(attribute: String, entity: EntityDefinition, key: RecordKey)] = []
    /// Values of attributes that an update can't write. These values are ignored if the record has the same values, and refused
    /// otherwise.
    private(set) var kept: [String: AttributeValue] = [:]
    /// References that an update can't write, and that equal the record's references.
    private(set) var agreed: [String: (entity: EntityDefinition, id: UUID)] = [:]
    /// The key in `@odata.id`.
    private(set) var ownKey: RecordKey?
    /// Encrypted attributes that the client sent as null. A read returns null for these attributes even if they have a value, so
    /// the client may not mean to clear them.
    private var nulls: Set<String> = []
    /// Whether the client sent anything that only a read returns: values that no update writes, or annotations.
    private(set) var isAsRead = false
    /// Whether the values are a record that a SOAP client retrieved and sent back. A record from a SOAP client has a null only
    /// where the client set it.
    private var isRetrieved = false

    /// Whether the client may be writing back a record as it read it, without having looked at each value. A reference does not
    /// show this, because a read returns references in a different form.
    private(set) var isWrittenBack = false
    /// The annotation of a record that a client of SOAP retrieved.
    package static let retrieved = "@fieldseal.retrieved"

    /// The attributes that the client named.
    var names: Set<String> {
        Set(values.keys).union(secrets.keys).union(references.map(\.attribute)).subtracting([
            "owneridtype", "filesize", entity.primaryID,
        ])
    }

    /// Whether the client named an attribute.
    func isNaming(_ attribute: String) -> Bool {
        values[attribute] != nil || secrets[attribute] != nil || references.contains { $0.attribute == attribute }
    }

    /// Whether the write makes a team the record's owner.
    var isGivenToTeam: Bool { references.contains { $0.attribute == "ownerid" && $0.entity === EntityDefinition.team } }

    /// The named attributes that can be set only when a record is created.
    var createOnly: [String] { names.filter { entity[$0]?.validFor.contains(.update) == false }.sorted() }

    /// What the values are for.
    enum Purpose {
        case create, update
        /// An update, or a create if there is no such record. An upsert accepts each attribute that a create or an update accepts.
        case upsert
        /// A new record that is nested in another new record.
        case part
    }

    /// Checks the members of a JSON object.
    ///
    /// - Throws: ``FieldsealError`` naming the attribute and what it accepts. The error never quotes the value of an encrypted
    ///   attribute.
    init(_ entity: EntityDefinition, _ members: [JSONValue.Member], for purpose: Purpose) throws(FieldsealError) {
        self.entity = entity
        try Self.requireEachOnce(members, of: entity)
        for member in members {
            do {
                try take(member, for: purpose)
            } catch {
                throw error.about(Self.attribute(of: member, entity)?.logicalName)
            }
        }
        try settleState()
        try settleAttachment(for: purpose)
        switch purpose {
        case .create, .part: try requireName()
        case .update, .upsert:
            isWrittenBack =
                isAsRead || isRetrieved
                || unchangeable.contains { !$0.attribute.type.isReference || kept[$0.attribute.logicalName] != nil }
            isAsRead = isAsRead || !unchangeable.isEmpty
            try leaveUnreadPasswords()
        }
    }

    /// Clears a lookup, also one that clients can't write.
    init(_ entity: EntityDefinition, clearing lookup: AttributeDefinition) {
        self.entity = entity
        values = [lookup.logicalName: .null]
    }

    private mutating func take(_ member: JSONValue.Member, for purpose: Purpose) throws(FieldsealError) {
        if let property = member.name.strippingSuffix("@odata.bind") {
            try bind(property, member.value, for: purpose)
        } else if let at = member.name.firstIndex(of: "@") {
            try check(annotation: member.name[at...], of: member.name[..<at], member.value)
        } else {
            try set(member.name, member.value, for: purpose)
        }
    }

    /// Leaves a password unchanged if it is null in a record that the client writes back as it read it.
    ///
    /// - Throws: ``FieldsealError`` `.attributeCannotBeUpdated` if there is nothing else to write.
    private mutating func leaveUnreadPasswords() throws(FieldsealError) {
        guard isAsRead, let first = nulls.min() else { return }
        guard !names.subtracting(createOnly).isSubset(of: nulls) else {
            throw FieldsealError(
                .attributeCannotBeUpdated,
                "\(first) is null in a request with values that only a read returns, such as createdon or @odata.etag. Such a null "
                    + "changes nothing, and the request updates nothing else. To clear the attribute, send null without those "
                    + "values, or an empty text."
            ).about(first)
        }
        for attribute in nulls { secrets[attribute] = nil }
    }

    /// The attribute that a member sets; nil for an annotation and for an unknown name.
    private static func attribute(of member: JSONValue.Member, _ entity: EntityDefinition) -> AttributeDefinition? {
        if let bound = member.name.strippingSuffix("@odata.bind") { return entity.lookup(boundBy: bound) }
        return entity[member.name.lowercased()] ?? entity.singleValued(member.name)?.attribute
    }

    /// Gives an attachment the size of its new content, and refuses an attachment that belongs to no e-mail.
    private mutating func settleAttachment(for purpose: Purpose) throws(FieldsealError) {
        guard entity === EntityDefinition.activityMimeAttachment else { return }
        if let body = values["body"] { values["filesize"] = AttachmentRule.size(of: body) }
        if purpose == .create || purpose == .part, values["filename"] ?? .null == .null {
            values["filename"] = .text(EmailParts.Attachment.defaultName)
        }
        if purpose == .part, isNaming("objectid") {
            throw FieldsealError(
                .payloadDoesNotFit, "An attachment that is created with its e-mail gets objectid from that e-mail. Leave it out.")
        }
        guard purpose != .create || isNaming("objectid") && values["objectid"] != .null else {
            throw FieldsealError(
                .invalidArgument,
                "objectid of an attachment is required: a reference to its e-mail, in the Web API objectid_email@odata.bind."
            ).about("objectid")
        }
    }

    /// Refuses a new record without the name that it must have.
    private func requireName() throws(FieldsealError) {
        guard let name = entity.primaryName, let attribute = entity[name], attribute.required == .system,
            attribute.validFor.contains(.create), values[name] == nil
        else { return }
        throw FieldsealError(.invalidArgument, "\(name) of \(entity.withArticle) is required, and is missing.")
            .about(name)
    }

    /// Sets the state that belongs to the new status.
    ///
    /// - Throws: ``FieldsealError`` `.invalidStateStatus` for a state and a status that do not match.
    private mutating func settleState() throws(FieldsealError) {
        let isEmail = entity.logicalName == EntityDefinition.email.logicalName
        guard case .int(let status)? = values["statuscode"], case .state(let states)? = entity["statecode"]?.type else { return }
        // An e-mail's state has several statuses. In other entities, each state has one status: the state's number plus one.
        guard let state = isEmail ? EmailStatus(rawValue: status)?.state : status - 1, states.contains(state) else { return }
        if case .int(let given)? = values["statecode"], given != state {
            throw FieldsealError(
                .invalidStateStatus,
                "The status \(status) of \(entity.logicalName) is not one of the state \(given). Its state is \(state)."
            ).about("statuscode")
        }
        // For an e-mail, a trigger in the database sets the state that belongs to the status.
        if !isEmail { values["statecode"] = .int(state) }
    }

    /// Refuses an attribute that is given twice, in different cases or as a value and a reference, because one of the two values
    /// would be lost.
    static func requireEachOnce(_ members: [JSONValue.Member], of entity: EntityDefinition) throws(FieldsealError) {
        var names: Set<String> = []
        for member in members {
            let name = member.name.lowercased()
            let bound = name.strippingSuffix("@odata.bind")
            let attribute = attribute(of: member, entity)?.logicalName ?? bound ?? name
            guard bound != nil || !name.contains("@"), member.value != .null || bound == nil else { continue }
            guard names.insert(attribute).inserted else {
                throw FieldsealError(
                    .payloadDoesNotFit, "\(attribute.quotedForMessage) is given twice, in \(member.name.quotedForMessage) too.")
            }
        }
    }

    /// Annotations that clients send back unchanged. In a request, these annotations have no effect.
    private static let harmlessAnnotations: Set<Substring> = [
        "@odata.context", "@odata.etag", "@odata.editLink", "@odata.readLink", "@odata.id", "@odata.type", "@odata.navigationLink",
        "@odata.associationLink",
    ]
    /// The harmless annotations that belong to a whole record, not to one of its properties.
    private static let annotationsOfRecords: Set<Substring> = ["@odata.etag", "@odata.editLink", "@odata.readLink", "@odata.id"]

    /// Whether an annotation comes from a response. A request with an annotation from a response writes back what was read.
    private static func isOfReads(_ annotation: Substring, _ isOfRecord: Bool) -> Bool {
        if ["@odata.context", "@odata.etag", "@odata.editLink", "@odata.readLink"].contains(annotation) { return isOfRecord }
        return annotation.hasPrefix("@OData.Community.Display.") || annotation.hasPrefix("@Microsoft.Dynamics.CRM.")
    }

    /// - Throws: ``FieldsealError`` `.payloadDoesNotFit` for an OData annotation without an effect, such as a misspelled
    ///   `@odata.bind`, for an annotation of an unknown property, and for the type of another entity.
    private mutating func check(annotation: Substring, of property: Substring, _ value: JSONValue) throws(FieldsealError) {
        let isOfRecord = property.isEmpty
        isAsRead = isAsRead || Self.isOfReads(annotation, isOfRecord)
        isRetrieved = isRetrieved || isOfRecord && annotation == Self.retrieved
        guard isOfRecord || entity.hasProperty(String(property)) else { throw refusal(ofUnknown: String(property)) }
        if Self.harmlessAnnotations.contains(annotation), value != .null, value.string == nil {
            throw FieldsealError(.payloadDoesNotFit, "\(annotation) takes a text.")
        }
        if !isOfRecord, annotation == "@odata.type" { try require(type: value, of: String(property)) }
        if isOfRecord, annotation == "@odata.type" { try Self.require(type: value, of: [entity.logicalName]) }
        if isOfRecord, annotation == "@odata.id", let address = value.string {
            guard let (named, key) = try Self.reference(address), named.logicalName == entity.logicalName else {
                throw FieldsealError(.payloadDoesNotFit, "@odata.id is not the address of \(entity.withArticle).")
            }
            ownKey = key
        }
        // Names of other vocabularies contain a dot. OData 4.01 writes the names of its own annotations without a prefix.
        let isOData = annotation.lowercased().hasPrefix("@odata.") || !annotation.contains(".")
        let isHarmless =
            Self.harmlessAnnotations.contains(annotation) && (isOfRecord || !Self.annotationsOfRecords.contains(annotation))
        guard !isOData || isHarmless || annotation.hasPrefix("@OData.Community.") else {
            throw FieldsealError(.payloadDoesNotFit, "The annotation \(String(annotation).quotedForMessage) is not supported here.")
        }
    }

    /// Refuses an `@odata.type` of a record that names none of the entities.
    package static func require(type: JSONValue?, of entities: [String]) throws(FieldsealError) {
        guard let type else { return }
        guard let name = type.string?.split(separator: ".").last.map(String.init), entities.contains(name) else {
            throw FieldsealError(
                .payloadDoesNotFit, "@odata.type names another entity than \(entities.joined(separator: " or ")).")
        }
    }

    private mutating func set(_ name: String, _ value: JSONValue, for purpose: Purpose) throws(FieldsealError) {
        // A navigation property that is null clears its lookup.
        let lookup = value == .null ? entity.singleValued(name)?.attribute : nil
        guard let attribute = entity[name.lowercased()] ?? lookup else { throw refusal(ofUnknown: name) }
        guard !isKept(attribute, for: purpose) else {
            kept[attribute.logicalName] = try AttributeParser(attribute).value(value)
            return
        }
        guard try isTaken(attribute, for: purpose) else {
            isAsRead = isAsRead || Self.stamps.contains(attribute.logicalName)
            // The service maintains this attribute, so a value of the right type is ignored. Any other value is an error.
            if !attribute.type.isReference { _ = try AttributeParser(attribute).value(value) }
            return
        }
        if attribute.type.isReference {
            guard value == .null else {
                throw FieldsealError(
                    .payloadDoesNotFit,
                    "\(attribute.logicalName) refers to a record: write \(binding(of: attribute)) with its address.")
            }
            try requireOptional(attribute)
            values[attribute.logicalName] = .null
        } else if attribute.isEncrypted {
            secrets[attribute.logicalName] = .some(try AttributeParser(attribute).secret(value))
            if value == .null { nulls.insert(attribute.logicalName) }
        } else {
            var parsed = try AttributeParser(attribute).value(value)
            if parsed == .null, value != .null, entity.keepsEmptyText(attribute) { parsed = .text("") }
            if parsed == .null { try requireOptional(attribute) }
            guard entity.isID(attribute) else { return values[attribute.logicalName] = parsed }
            try set(id: parsed)
        }
    }

    /// Sets the record's id. Users and teams have their id under two names.
    private mutating func set(id: AttributeValue) throws(FieldsealError) {
        guard id != .id(.empty) else { return }
        guard values[entity.primaryID] == nil || values[entity.primaryID] == id else {
            throw FieldsealError(
                .payloadDoesNotFit,
                "\(entity.primaryID) and ownerid of \(entity.withArticle) are the same id, but the request has two different ones."
            )
        }
        values[entity.primaryID] = id
    }

    private mutating func bind(_ property: String, _ value: JSONValue, for purpose: Purpose) throws(FieldsealError) {
        guard let attribute = entity.lookup(boundBy: property) else { throw refusal(ofUnknown: property, isBound: true) }
        let targets = entity.singleValued(all: property).map(\.referenced.logicalName)
        let isTaken = try isTaken(attribute, for: purpose)
        if value == .null {
            guard isTaken else { return }
            try requireOptional(attribute)
            values[attribute.logicalName] = .null
            return
        }
        guard case .string(let address) = value, let (target, key) = try Self.reference(address),
            targets.contains(target.logicalName)
        else {
            let sets = targets.compactMap { EntityCatalog.entity($0)?.entitySetName }
            guard !sets.isEmpty else {
                throw FieldsealError(
                    .payloadDoesNotFit,
                    "\(attribute.logicalName) can't refer to a record here: there are no records of "
                        + "\(attribute.type.targets.joined(separator: ", ")). Leave it out.")
            }
            throw FieldsealError(
                .payloadDoesNotFit,
                "\(property)@odata.bind takes the address of one of \(sets.joined(separator: ", ")), such as "
                    + "/\(sets.first ?? "")(00000000-0000-0000-0000-000000000000).")
        }
        guard isTaken else { return }
        if case .owner = attribute.type { values["owneridtype"] = .text(target.logicalName) }
        references.append((attribute.logicalName, target, key))
    }

    /// Sets the id of a reference.
    mutating func resolve(_ attribute: String, _ id: UUID) {
        values[attribute] = .id(id)
    }

    /// Parses `/mailboxes(KEY)` or `mailboxes(KEY)`, percent-encoded or not.
    package static func reference(_ written: String) throws(FieldsealError) -> (EntityDefinition, RecordKey)? {
        let address = written.contains("%") ? written.removingPercentEncoding ?? written : written
        guard address.hasSuffix(")"), let open = address.firstIndex(of: "("),
            let entity = entity(set: address[..<open].dropFirst(address.hasPrefix("/") ? 1 : 0))
        else { return nil }
        return (entity, try RecordKey(String(address[address.index(after: open)...].dropLast()), of: entity))
    }

    /// The entity of a collection. In this service, every activity is an e-mail.
    private static func entity(set: Substring) -> EntityDefinition? {
        set == "activitypointers" ? .email : EntityCatalog.entity(set: String(set))
    }

    /// Whether the value of an attribute is used. Values of attributes that the server maintains are ignored, as in Dataverse.
    private func isTaken(_ attribute: AttributeDefinition, for purpose: Purpose) throws(FieldsealError) -> Bool {
        if Self.stamps.contains(attribute.logicalName) { return false }
        if entity.isID(attribute) { return true }
        switch purpose {
        case .create where !attribute.validFor.contains(.create), .part where !attribute.validFor.contains(.create):
            throw FieldsealError(.payloadDoesNotFit, "\(attribute.logicalName) can't be set when a record is created.")
        // A reference that an update can't write is compared with the record's reference, after its key was resolved to an id.
        case .update where attribute.type.isReference && !attribute.validFor.isDisjoint(with: [.create, .read]): return true
        case .upsert where attribute.type.isReference && attribute.validFor.contains(.read): return true
        case .update where !attribute.validFor.contains(.update),
            .upsert where attribute.validFor.isDisjoint(with: [.create, .update]):
            throw FieldsealError(.attributeCannotBeUpdated, "\(attribute.logicalName) can't be updated.")
        default: return true
        }
    }

    /// Whether the value of an attribute that can't be updated is compared with the record's value. Encrypted values are never
    /// compared.
    private func isKept(_ attribute: AttributeDefinition, for purpose: Purpose) -> Bool {
        guard !Self.stamps.contains(attribute.logicalName), !entity.isID(attribute), attribute.validFor.contains(.read),
            !attribute.isEncrypted, !attribute.type.isReference, !attribute.type.isImage
        else { return false }
        return switch purpose {
        case .update: !attribute.validFor.contains(.update)
        case .upsert: attribute.validFor.isDisjoint(with: [.create, .update])
        case .create, .part: false
        }
    }

    /// The values that an update can't write: those that only a new record accepts, and those in ``kept``.
    var unchangeable: [(attribute: AttributeDefinition, value: AttributeValue?)] {
        (createOnly + kept.keys).sorted().compactMap { name in entity[name].map { ($0, kept[name] ?? values[name]) } }
    }

    /// Marks values that are not written, but only compared with the record's values.
    mutating func keep(_ names: some Sequence<String>) {
        for name in names {
            kept[name] = values[name]
            values[name] = nil
        }
    }

    /// The same values without those that an update can't write.
    func changeable() -> ParsedValues {
        var input = self
        for (attribute, value) in unchangeable {
            if let reference = references.first(where: { $0.attribute == attribute.logicalName }), let id = value?.uuid {
                input.agreed[attribute.logicalName] = (reference.entity, id)
            }
            input.values[attribute.logicalName] = nil
            input.references.removeAll { $0.attribute == attribute.logicalName }
        }
        input.kept = [:]
        return input
    }

    private func requireOptional(_ attribute: AttributeDefinition) throws(FieldsealError) {
        guard attribute.required != .system else {
            throw FieldsealError(.invalidArgument, "\(attribute.logicalName) is required and can't be set to null.")
        }
    }

    /// Refuses a write of one attribute alone, if the service maintains it. Beside other values the value of this attribute would
    /// be ignored, but here there is nothing else to write.
    ///
    /// - Throws: ``FieldsealError`` `.attributeCannotBeUpdated` naming the attribute.
    package static func requireWritable(_ attribute: AttributeDefinition) throws(FieldsealError) {
        guard stamps.contains(attribute.logicalName) else { return }
        throw FieldsealError(
            .attributeCannotBeUpdated, "\(attribute.logicalName) can't be set or cleared: the service keeps it by itself."
        ).about(attribute.logicalName)
    }

    /// Refuses an update that names only attributes that the service maintains, because it would change only the version.
    ///
    /// - Throws: ``FieldsealError`` `.attributeCannotBeUpdated` naming the first of these attributes.
    static func requireEffect(of members: [JSONValue.Member], on entity: EntityDefinition) throws(FieldsealError) {
        var kept: AttributeDefinition?
        for member in members {
            let name = member.name.lowercased()
            let isBound = name.hasSuffix("@odata.bind")
            guard isBound || !name.contains("@"), !entity.isID(name) else { continue }
            guard let attribute = attribute(of: member, entity), stamps.contains(attribute.logicalName) else { return }
            kept = kept ?? attribute
        }
        if let kept { try requireWritable(kept) }
    }

    private static let stamps: Set<String> = [
        "createdon", "createdby", "createdonbehalfby", "modifiedon", "modifiedby", "modifiedonbehalfby", "versionnumber",
        "organizationid", "owningbusinessunit", "owningteam", "owninguser", "owneridtype",
    ]
}
