package import Foundation
package import Model
package import PostgresClient
package import Tenancy

// A caller's rights to one record.
extension Session {
    /// The rights to a record that shares give to a principal or its teams. A right for which the principal's role has no privilege
    /// is left out.
    package func shared(
        with principal: Caller, _ entity: EntityDefinition, _ id: UUID, on connection: isolated PostgresConnection
    ) throws -> AccessRights {
        guard entity.has(.share) else { return [] }
        let rows = try connection.query(
            """
            SELECT bit_or(rights) FROM \(organization.qualified("principal_access"))
             WHERE entity = $3 AND record_id = $1 AND (principal_id = $2 OR principal_id IN
                   (SELECT teamid FROM \(organization.qualified("teammembership")) WHERE systemuserid = $2))
            """, [.uuid(id), .uuid(principal.systemUserID), .text(entity.logicalName)])
        let rights = AccessRights(rawValue: Int32(try rows[0].decodeIfPresent(0, as: Int.self) ?? 0))
        return Self.messages.reduce(into: []) { allowed, item in
            if principal.depth(of: item.message, on: entity) != .none { allowed.formUnion(rights.intersection(item.rights)) }
        }
    }

    /// A caller's rights to a record, by its roles, by ownership or by a share. Empty if the right to read is not among them.
    func ownRights(of caller: Caller, on entity: EntityDefinition, _ id: UUID, on connection: isolated PostgresConnection) throws
        -> AccessRights
    {
        try grantedRights(of: caller, on: entity, id, countsShares: true, on: connection).effective
    }

    /// The rights that a caller's roles, ownership and shares grant, even if the right to read is missing.
    ///
    /// - Parameter countsShares: Whether to include shares.
    package func grantedRights(
        of caller: Caller, on entity: EntityDefinition, _ id: UUID, countsShares: Bool,
        on connection: isolated PostgresConnection
    ) throws -> AccessRights {
        var statement = StatementBuilder(organization, caller)
        let record = statement.bind(.uuid(id))
        let answers = Self.messages.map { _, right, message -> String in
            let depth = caller.depth(of: message, on: entity)
            guard depth != .none else { return "false" }
            let rule = AccessRule(entity, organization, caller)
            return rule.reach(depth, countsShares ? right : [], "r", bind: { statement.bind($0) }) ?? "true"
        }
        let row = try connection.query(
            """
            SELECT \(answers.joined(separator: ", ")) FROM \(organization.qualified(entity.logicalName)) AS r
             WHERE r.\(entity.idColumn) = \(record)
            """, statement.parameters
        ).first
        guard let row else { return [] }
        return try Self.messages.enumerated().reduce(into: []) { rights, item in
            if try row.decodeIfPresent(item.offset, as: Bool.self) ?? false { rights.formUnion(item.element.rights) }
        }
    }

    /// Each right, with the right that a share must grant for it and the message whose privilege it needs. For example, `append`
    /// needs a share of `write` and the privilege to update.
    static let messages: [(rights: AccessRights, asks: AccessRights, message: EntityDefinition.Message)] = [
        (.read, .read, .retrieve), (.write, .write, .update), (.append, .write, .update), (.appendTo, .read, .retrieve),
        (.create, .write, .create), (.delete, .delete, .delete), (.share, .share, .share), (.assign, .assign, .assign),
    ]
}
