import Foundation
import Model
import PostgresClient
import Tenancy

// What a write refers to: whether it is there, and whether the caller may refer to it.
extension PreparedWrite {
    /// Puts the ids of what lookups refer to into the values.
    ///
    /// - Throws: ``FieldsealError`` `.objectDoesNotExist` for a record that is not there, and for one that the caller may not read.
    func resolveReferences(_ input: RecordInput, on connection: isolated PostgresConnection) throws -> RecordInput {
        var input = input
        for (attribute, target, key) in input.references {
            let missing = FieldsealError(
                .objectDoesNotExist, "\(attribute) refers to a \(target.logicalName) that does not exist.")
            let depth = caller.depth(of: .retrieve, on: target)
            guard depth != .none else { throw missing }
            let found = try ids(of: target, key, readable: depth, on: connection)
            guard let id = found.first else { throw missing }
            try key.check(target, found.count, isAmbiguous: found.count > 1)
            input.resolve(attribute, id)
        }
        return input
    }

    /// The ids of the records that a key names, two at most.
    ///
    /// - Parameter readable: How far the caller may read; nil to find every record.
    func ids(
        of target: EntityDefinition,
        _ key: RecordKey,
        readable: Depth? = nil,
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
        // A profile that a mailbox is bound to is not changed before the binding is committed, and a team that becomes an owner
        // is not deleted.
        let isProfile = readable != nil && target.logicalName == EntityDefinition.emailServerProfile.logicalName
        let isLocked = isProfile || readable != nil && target === EntityDefinition.team
        let rows = try connection.query(
            "SELECT \(id) FROM \(table) WHERE \(conditions.joined(separator: " AND ")) LIMIT 2\(isLocked ? " FOR KEY SHARE" : "")",
            statement.parameters)
        return try rows.map { try $0.decode(0) }
    }

    /// Checks that the owner of a new record is one that the caller may give records to: the caller, within the depth of its create
    /// privilege a team of the caller's, and with organization-wide create and assign privileges everybody.
    func requireOwner(_ input: RecordInput, on connection: isolated PostgresConnection) throws {
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
                "The role \(caller.role.rawValue) may create a \(entity.logicalName) for its caller and the caller's teams alone (ownerid)."
            )
        }
    }

    /// Whether a party of the e-mail is a queue, which not every role may read.
    var asksForQueues: Bool {
        caller.depth(of: .retrieve, on: .queue) != .organization && !queues.isEmpty
    }

    private var queues: [UUID] {
        parts.parties.compactMap { $0.record?.entity.logicalName == EntityDefinition.queue.logicalName ? $0.record?.id : nil }
    }

    /// Checks that the caller may name the queues that an e-mail is from or to: it may read them, or it or a team of its owns them.
    func requireParties(on connection: isolated PostgresConnection) throws {
        guard asksForQueues else { return }
        let depth = caller.depth(of: .retrieve, on: .queue)
        for queue in queues where try ids(of: .queue, .id(queue), readable: depth == .none ? .own : depth, on: connection).isEmpty {
            throw FieldsealError(.objectDoesNotExist, "partyid refers to a queue that does not exist.")
        }
    }
}
