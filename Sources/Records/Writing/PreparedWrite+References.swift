import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

// Checks that referenced records exist, and that the caller may refer to them.
extension PreparedWrite {
    /// Resolves the references of lookups to ids.
    ///
    /// - Parameter isCompared: Whether references that an update can't write are only compared with those of the record. If true,
    ///   the caller need not be able to read the records that these references name.
    /// - Throws: ``FieldsealError`` `.objectDoesNotExist` for a record that does not exist, or that the caller may not read.
    func resolveReferences(
        _ input: ParsedValues, isCompared: Bool = false, on connection: isolated PostgresConnection
    ) throws -> ParsedValues {
        var input = input
        for (attribute, target, key) in input.references {
            if isCompared, entity[attribute]?.validFor.contains(.update) == false, case .id(let id) = key {
                input.resolve(attribute, id)
                continue
            }
            let missing = missing(attribute, target)
            let depth = caller.depth(of: .retrieve, on: target)
            guard depth != .none else { throw missing }
            let found = try ids(of: target, key, readable: depth, on: connection)
            guard let id = found.first else { throw missing }
            try key.check(target, found.count, isAmbiguous: found.count > 1)
            input.resolve(attribute, id)
        }
        // In a user's settings, `businessunitid` is a plain value and not a lookup, so no other check finds a missing unit.
        if entity === EntityDefinition.userSettings, let unit = input.values["businessunitid"]?.uuid,
            try ids(of: .businessUnit, .id(unit), on: connection).isEmpty
        {
            throw missing("businessunitid", .businessUnit)
        }
        return input
    }

    /// The ids of the records that a key names, two at most.
    ///
    /// - Parameter readable: The depth of the caller's privilege to read; nil to find every record.
    func ids(
        of target: EntityDefinition,
        _ key: RecordKey,
        readable: PrivilegeDepth? = nil,
        on connection: isolated PostgresConnection
    ) throws -> [UUID] {
        var statement = StatementBuilder(organization, caller)
        let id = target.idColumn
        var conditions: [String]
        switch key {
        case .id(let value): conditions = ["\(id) = \(statement.bind(.uuid(value)))"]
        case .alternate(let values):
            _ = try key.filter(target)
            conditions = try values.map { name, value in
                guard let attribute = target[name] else { throw QueryScope.unknown(entity: name) }
                let bound = statement.bind(try attribute.type.value(of: value, for: attribute), attribute.type)
                return attribute.type.isText ? "lower(\(quoteIdentifier(name))) = \(bound)" : "\(quoteIdentifier(name)) = \(bound)"
            }
        }
        let table = organization.qualified(target.logicalName)
        if let readable,
            let rule = AccessRule(target, organization, caller).condition(readable, .read, table, bind: { statement.bind($0) })
        {
            conditions.append(rule)
        }
        // The lock holds until the reference is committed. Until then a profile's settings can't be changed, and a team can't
        // be deleted.
        let isProfile = readable != nil && target.logicalName == EntityDefinition.emailServerProfile.logicalName
        let isLocked = isProfile || readable != nil && target === EntityDefinition.team
        let rows = try connection.query(
            "SELECT \(id) FROM \(table) WHERE \(conditions.joined(separator: " AND ")) LIMIT 2\(isLocked ? " FOR KEY SHARE" : "")",
            statement.parameters)
        return try rows.map { try $0.decode(0) }
    }

    /// Checks that the caller may make a record for this owner. The caller may name itself, and its teams within the depth of its
    /// create privilege. With create and assign privileges for the whole organization, every owner is allowed.
    func requireOwner(_ input: ParsedValues, on connection: isolated PostgresConnection) throws {
        guard case .id(let owner) = input.values["ownerid"], owner != caller.systemUserID else { return }
        let isOrganizationWide =
            caller.depth(of: .create, on: entity) == .organization
            && caller.depth(of: .assign, on: entity) == .organization
        guard !isOrganizationWide else { return }
        let membership = try connection.query(
            "SELECT FROM \(organization.qualified("teammembership")) WHERE teamid = $1 AND systemuserid = $2",
            [.uuid(owner), .uuid(caller.systemUserID)])
        guard !membership.isEmpty else {
            throw FieldsealError(
                .privilegeDenied,
                "The role \(caller.role.rawValue) may create \(entity.withArticle) for its caller and the caller's teams alone (ownerid)."
            ).about("ownerid")
        }
    }

    /// Refuses a disabled user as the owner. A record that has this owner already may keep it.
    ///
    /// - Parameter record: The record that is updated; nil for a new one.
    /// - Throws: ``FieldsealError`` `.userDisabled` naming the user; `.objectDoesNotExist` for a record that the caller may not
    ///   read.
    func requireEnabledOwner(_ input: ParsedValues, of record: UUID? = nil, on connection: isolated PostgresConnection) throws {
        guard case .id(let owner) = input.values["ownerid"], input.values["owneridtype"] == .text("systemuser"),
            let name = try DisabledUsers.name(of: owner, session, on: connection)
        else { return }
        if let record {
            let table = organization.qualified(entity.logicalName)
            let owners = try connection.query("SELECT ownerid FROM \(table) WHERE \(entity.idColumn) = $1", [.uuid(record)])
            // There is no row yet if an upsert creates the record.
            guard let row = owners.first else { return }
            // A caller that may not read the record must not learn who owns it.
            let depth = caller.depth(of: .retrieve, on: entity)
            guard depth != .none, try !ids(of: entity, .id(record), readable: depth, on: connection).isEmpty else {
                throw FieldsealError.noSuchRecord(entity, record.text)
            }
            guard try row.decodeIfPresent(0, as: UUID.self) != owner else { return }
        }
        throw FieldsealError(
            .userDisabled,
            "The user \(name) is disabled, so no records can be assigned to it. Choose another owner, or enable the user first."
        ).about("ownerid")
    }

    /// Whether the record is a file of an e-mail.
    var isAttachment: Bool { entity === EntityDefinition.activityMimeAttachment }

    /// Checks that the caller may write the e-mail that gets a file, and that the e-mail's status allows that. The e-mail's row
    /// stays locked, so that the e-mail is not sent before the file is written.
    ///
    /// - Throws: ``FieldsealError`` `.readOnly` for an e-mail that waits to be sent; `.privilegeDenied` for an e-mail that the
    ///   caller may only read; `.objectDoesNotExist` for an e-mail that the caller may not read.
    func requireEmail(of input: ParsedValues, on connection: isolated PostgresConnection) throws {
        guard isAttachment, case .id(let email) = input.values["objectid"] else { return }
        var statement = StatementBuilder(organization, caller)
        var conditions = ["e.activityid = \(statement.bind(.uuid(email)))"]
        let access = AccessRule(.email, organization, caller)
        if let own = access.condition(caller.depth(of: .create, on: entity), .write, "e", bind: { statement.bind($0) }) {
            conditions.append(own)
        }
        let found = try connection.query(
            """
            SELECT e.statuscode FROM \(organization.qualified("email")) AS e
             WHERE \(conditions.joined(separator: " AND ")) FOR NO KEY UPDATE OF e
            """, statement.parameters)
        guard let row = found.first else {
            try session.refuseReadable(.email, email, without: .write, on: connection)
            throw FieldsealError.noSuchRecord(.email, email.text)
        }
        let status = try row.decodeIfPresent(0, as: Int.self).flatMap { EmailStatus(rawValue: Int64($0)) }
        guard let status, !EmailStatus.outbound.contains(status) else { throw EmailWriteRule.ofFiles.refusal(status) }
    }

    /// The id of the party that an alternate key names.
    ///
    /// - Throws: ``FieldsealError`` as for the references of lookups. A queue must be one that the caller may read or owns.
    func party(_ entity: EntityDefinition, _ key: RecordKey, on connection: isolated PostgresConnection) throws -> UUID {
        let found = try ids(of: entity, key, readable: max(.own, caller.depth(of: .retrieve, on: entity)), on: connection)
        guard let id = found.first else { throw missing("partyid", entity) }
        try key.check(entity, found.count, isAmbiguous: found.count > 1)
        return id
    }

    private func missing(_ attribute: String, _ entity: EntityDefinition) -> FieldsealError {
        FieldsealError(.objectDoesNotExist, "\(attribute) refers to \(entity.withArticle) that does not exist.").about(attribute)
    }

    /// Checks the parties of an e-mail. The caller must be able to read each user and queue, or own the queue. Each address and
    /// name must be valid. Parties that the e-mail already has are accepted, even a sender with words in place of an address.
    ///
    /// - Parameter email: The e-mail whose parties are replaced; nil for a new one.
    func requireParties(of email: UUID? = nil, on connection: isolated PostgresConnection) throws {
        let needsKept = email != nil && parts.hasUnusableText
        var kept = try needsKept ? email.map { try parts.kept(in: $0, of: organization, on: connection) } : nil
        try parts.requireUsable(besides: kept ?? [])
        for entity in [EntityDefinition.systemUser, .queue] {
            let absent = try absent(Set(parts.parties.compactMap { $0.id(of: entity) }), of: entity, on: connection)
            guard !absent.isEmpty else { continue }
            if kept == nil, let email { kept = try parts.kept(in: email, of: organization, on: connection) }
            for party in parts.parties {
                guard let id = party.id(of: entity), absent.contains(id) else { continue }
                guard kept?.contains(where: { $0.participation == party.participation && $0.id == id }) ?? false else {
                    throw missing("partyid", entity)
                }
            }
        }
    }

    /// The ids of records that do not exist, or that the caller may not name as parties.
    private func absent(
        _ ids: Set<UUID>, of entity: EntityDefinition, on connection: isolated PostgresConnection
    ) throws -> Set<UUID> {
        guard !ids.isEmpty else { return [] }
        var statement = StatementBuilder(organization, caller)
        var conditions = ["r.\(entity.idColumn) = ANY (\(statement.bind(.uuids(Array(ids)))))"]
        let depth = max(.own, caller.depth(of: .retrieve, on: entity))
        if let rule = AccessRule(entity, organization, caller).condition(depth, .read, "r", bind: { statement.bind($0) }) {
            conditions.append(rule)
        }
        let found = try connection.query(
            """
            SELECT r.\(entity.idColumn) FROM \(organization.qualified(entity.logicalName)) AS r
             WHERE \(conditions.joined(separator: " AND "))
            """, statement.parameters)
        return try ids.subtracting(found.map { try $0.decode(0, as: UUID.self) })
    }
}
