package import Foundation
package import Model
package import PostgresClient
package import Tenancy

/// The records of an entity that a caller may access: all of them, those of the caller's business unit, or the caller's own.
///
/// A record is the caller's own if the caller or one of their teams owns it, or if it was shared with the caller or with one of
/// these teams. Every other right to a record requires the right to read it as well.
package struct AccessRule {
    private let entity: EntityDefinition
    private let organization: Organization
    private let principal: UUID?
    /// The depth of the caller's privilege to read.
    private let reading: PrivilegeDepth

    package init(_ entity: EntityDefinition, _ organization: Organization, _ caller: Caller) {
        self.init(entity, organization, principal: caller.systemUserID, reading: caller.depth(of: .retrieve, on: entity))
    }

    /// - Parameters:
    ///   - principal: A systemuser or a team.
    ///   - reading: The depth of the principal's privilege to read.
    package init(_ entity: EntityDefinition, _ organization: Organization, principal: UUID?, reading: PrivilegeDepth) {
        self.entity = entity
        self.organization = organization
        self.principal = principal
        self.reading = reading
    }

    /// The condition in SQL; nil if every record may be accessed.
    ///
    /// - Parameters:
    ///   - depth: The depth of the caller's privilege.
    ///   - right: The right that a share must grant.
    ///   - table: The alias or name of the records' table.
    ///   - bind: Adds a parameter and returns its placeholder.
    package func condition(_ depth: PrivilegeDepth, _ right: AccessRights, _ table: String?, bind: (PostgresParameter) -> String)
        -> String?
    {
        let reach = reach(depth, right, table, bind: bind)
        guard right != .read else { return reach }
        guard reading != .none else { return "false" }
        let readable = self.reach(reading, .read, table, bind: bind)
        guard let reach, let readable else { return reach ?? readable }
        return "\(reach) AND \(readable)"
    }

    /// The condition in SQL for `right` alone: it does not check the right to read. Nil if every record may be accessed.
    func reach(_ depth: PrivilegeDepth, _ right: AccessRights, _ table: String?, bind: (PostgresParameter) -> String) -> String? {
        guard depth != .organization else { return nil }
        func column(_ name: String) -> String { (table.map { "\($0)." } ?? "") + quoteIdentifier(name) }
        let user = bind(.uuid(principal))
        if let parent = entity.parent {
            let rule =
                AccessRule(parent.entity, organization, principal: principal, reading: reading)
                .reach(depth, right, "parent", bind: bind) ?? "true"
            // PostgreSQL makes a join of an EXISTS, and may run that join after expensive conditions of the client. It makes no join
            // of a CASE.
            return """
                CASE WHEN EXISTS (SELECT FROM \(organization.qualified(parent.entity.logicalName)) AS parent
                WHERE parent.\(parent.entity.idColumn) = \(table ?? quoteIdentifier(entity.logicalName)).\(quoteIdentifier(parent.lookup)) AND \(rule)) THEN true ELSE false END
                """
        }
        guard entity.isUserOwned else { return "\(column(entity.primaryID)) = \(user)" }
        let teams = "SELECT m.teamid FROM \(organization.qualified("teammembership")) AS m WHERE m.systemuserid = \(user)"
        var ways = [
            "\(column("ownerid")) = \(user)", "\(column("ownerid")) IN (\(teams))",
            """
            EXISTS (SELECT FROM \(organization.qualified("principal_access")) AS a
            WHERE a.entity = '\(entity.logicalName)' AND a.record_id = \(column(entity.primaryID)) AND a.rights & \(right.rawValue) <> 0
            AND (a.principal_id = \(user) OR a.principal_id IN (\(teams))))
            """,
        ]
        if depth == .businessUnit {
            let unit = "SELECT u.businessunitid FROM \(organization.qualified("systemuser")) AS u WHERE u.systemuserid = \(user)"
            ways.append("\(column("owningbusinessunit")) = (\(unit))")
        }
        return "(\(ways.joined(separator: " OR ")))"
    }
}

extension EntityDefinition {
    /// The entity whose records contain the records of this entity, if there is one. A caller may access a contained record if the
    /// caller may access the record that contains it.
    fileprivate var parent: (entity: EntityDefinition, lookup: String)? {
        switch logicalName {
        case "activityparty": (.email, "activityid")
        case "activitymimeattachment": (.email, "objectid")
        default: nil
        }
    }
}

extension Caller {
    /// Checks a privilege and returns its depth.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` without the privilege; `.notImplemented` if the entity's records do not have
    ///   the message.
    func require(_ message: EntityDefinition.Message, on entity: EntityDefinition) throws(FieldsealError) -> PrivilegeDepth {
        guard entity.has(message) else {
            throw FieldsealError(.notImplemented, "\(entity.logicalName) does not have the message \(message.rawValue).")
        }
        let depth = depth(of: message, on: entity)
        guard depth != .none else {
            let verb = [.retrieve, .retrieveMultiple].contains(message) ? "read" : message.rawValue
            throw FieldsealError(.privilegeDenied, "The role \(role.rawValue) may not \(verb) records of \(entity.logicalName).")
        }
        return depth
    }
}
