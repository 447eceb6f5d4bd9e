import CellCrypto
import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

extension Session {
    /// What to do with the links of a record.
    enum LinkChange {
        case add, remove
    }

    /// Links a record with other records by a many-to-many relationship, or removes these links. The links grant access, so each
    /// change is attested and recorded.
    ///
    /// - Throws: ``FieldsealError``: `.privilegeDenied`, `.objectDoesNotExist`, and `.invalidArgument` for a role that can't be
    ///   given by a link.
    func associate(
        _ association: Association, _ id: UUID, _ others: [UUID], _ linkChange: LinkChange,
        on connection: isolated PostgresConnection
    ) throws {
        guard caller.role == .systemAdministrator, caller.depth(of: .update, on: .team) == .organization else {
            throw FieldsealError(
                .privilegeDenied,
                "The role \(caller.role.rawValue) may not change roles and teams: a System Administrator does.")
        }
        let areLinked = linkChange == .add
        try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
            try requireRecord(association.own, id, on: connection)
            if areLinked, association.relationship.second !== EntityDefinition.role {
                // `refuseGivingAccess` is called once for all links, because each call reads everything that grants access in the
                // organization.
                let teams = association.own === association.relationship.first ? [id] : others
                try change.refuseGivingAccess(by: caller, on: connection) { teams.contains(where: $0.makesAdministrators) }
            }
            let former =
                areLinked
                ? try PeopleRoles(actingAs: users(association, id, others, on: connection), in: change, on: connection) : nil
            let changed = try change.keepingAnAdministrator(evenIfLast: areLinked, on: connection) { change in
                try others.filter { other in
                    try requireRecord(association.other, other, on: connection)
                    if areLinked { try requireEnabledMember(association, id, other, on: connection) }
                    let link = try Link(association, id, other, in: organization, on: connection)
                    return areLinked
                        ? try add(link, &change, on: connection)
                        : try remove(link, &change, on: connection)
                }
            }
            guard !changed.isEmpty else { return }
            let kind: SecurityEvent.Kind =
                switch association.relationship.schemaName {
                case ManyToManyRelationship.teamMembership.schemaName: areLinked ? .memberAdded : .memberRemoved
                default: areLinked ? .roleGiven : .roleTaken
                }
            let details =
                try "\(association.own.logicalName) \(id.text), \(association.other.logicalName) "
                + changed.map { try title(of: $0, association.other, on: connection) }.joined(separator: ", ")
            try change.append(SecurityEvent(kind, .succeeded, details: details), by: caller, on: connection)
            try former?.endFormerAccess(&change, by: caller, deployment.hashing, on: connection)
        }
    }

    /// The systemusers whose roles new links change.
    private func users(
        _ association: Association, _ id: UUID, _ others: [UUID], on connection: isolated PostgresConnection
    ) throws -> [UUID] {
        func ids(of entity: EntityDefinition) -> [UUID] { association.own === entity ? [id] : others }
        guard association.relationship.schemaName == ManyToManyRelationship.teamRoles.schemaName else {
            return ids(of: .systemUser)
        }
        return try connection.query(
            "SELECT DISTINCT systemuserid FROM \(organization.qualified("teammembership")) WHERE teamid = ANY ($1)",
            [.uuids(ids(of: .team))]
        ).map { try $0.decode(0) }
    }

    /// One link, from the first entity of its relationship to the second one.
    private struct Link {
        let relationship: ManyToManyRelationship
        let first: UUID
        let second: UUID
        /// The role that the link gives; nil for membership in a team.
        let role: (id: UUID, name: String)?
        let grant: Grant

        init(
            _ association: Association, _ id: UUID, _ other: UUID, in organization: Organization,
            on connection: isolated PostgresConnection
        ) throws {
            relationship = association.relationship
            (first, second) = association.own === relationship.first ? (id, other) : (other, id)
            guard relationship.second === EntityDefinition.role else {
                role = nil
                grant = .member(second, of: first)
                return
            }
            let row = try connection.query(
                "SELECT name FROM \(organization.qualified("role")) WHERE roleid = $1", [.uuid(second)]
            ).first
            let name = try row?.decode(0, as: String.self) ?? ""
            role = (second, name)
            grant =
                relationship.first === EntityDefinition.team
                ? .teamRole(second, name, of: first) : .userRole(second, name, of: first)
        }

        var columns: (first: String, second: String) { (relationship.first.idColumn, relationship.second.idColumn) }
    }

    /// - Returns: Whether anything changed.
    private func add(_ link: Link, _ change: inout AttestedChange, on connection: isolated PostgresConnection) throws -> Bool {
        if let role = link.role { try requireGivable(role.id, role.name, &change, on: connection) }
        let columns = link.columns
        let inserted = try connection.query(
            """
            INSERT INTO \(organization.qualified(link.relationship.intersect.logicalName)) (\(columns.first), \(columns.second))
            VALUES ($1, $2) ON CONFLICT DO NOTHING
            """, [.uuid(link.first), .uuid(link.second)]
        ).affectedRows
        let isListed = try change.grants.holds(link.grant, under: deployment.kek)
        if !isListed { _ = try change.grant(link.grant) }
        return inserted > 0 || !isListed
    }

    /// - Returns: Always true, because an error is thrown if the link is missing.
    private func remove(_ link: Link, _ change: inout AttestedChange, on connection: isolated PostgresConnection) throws -> Bool {
        let columns = link.columns
        let deleted = try connection.query(
            """
            DELETE FROM \(organization.qualified(link.relationship.intersect.logicalName))
             WHERE \(columns.first) = $1 AND \(columns.second) = $2
            """, [.uuid(link.first), .uuid(link.second)]
        ).affectedRows
        // The grant ends even if SQL deleted the row before. If SQL restores the row later, the row grants nothing.
        let isListed = try change.grants.names(link.grant.name)
        try change.remove(link.grant.name)
        guard deleted == 0, !isListed else { return true }
        if link.relationship.first === EntityDefinition.systemUser, let role = link.role,
            try isOwnRole(role.name, of: link.first, on: connection)
        {
            throw FieldsealError(
                .invalidArgument,
                "The user has the role \(role.name) because a client or a person of this role acts as it. Change the role of the "
                    + "client or the person, in the console.")
        }
        throw FieldsealError(.objectDoesNotExist, "The two records are not linked by \(link.relationship.schemaName).")
    }

    /// Whether a client or a console user with this role acts as the user.
    private func isOwnRole(_ role: String, of user: UUID, on connection: isolated PostgresConnection) throws -> Bool {
        try connection.query(
            """
            SELECT EXISTS (SELECT FROM config.api_client WHERE organization_id = $1 AND systemuser_id = $2 AND role = $3)
                OR EXISTS (SELECT FROM config.console_user WHERE organization_id = $1 AND systemuser_id = $2 AND role = $3)
            """, [.uuid(organization.id), .uuid(user), .text(role)])[0].decode(0)
    }

    /// Refuses roles that can't be given to users and teams, and roles whose records were changed by SQL.
    private func requireGivable(
        _ id: UUID, _ name: String, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws {
        let kek = deployment.kek
        // Attests every role that is not attested yet, so that SQL can't rename roles that are given later.
        for row in try connection.query("SELECT roleid, name FROM \(organization.qualified("role"))") {
            let grant = Grant.role(try row.decode("roleid"), try row.decode("name"))
            if try !change.grants.names(grant.name) { _ = try change.grant(grant) }
        }
        guard let role = Role(rawValue: name), try change.grants.holds(Grant.role(id, name), under: kek) else {
            throw FieldsealError(
                .privilegeDenied,
                "The record of this role was changed by SQL, and not by the service, so the role can't be given. See fieldseal "
                    + "doctor."
            )
        }
        guard role != .emailRouter else {
            throw FieldsealError(
                .invalidArgument,
                "Only clients can have the role Email Router, because passwords are released to it. Add a client: fieldseal "
                    + "client add.")
        }
        if role == .systemAdministrator { try change.refuseGivingAccess(by: caller, on: connection) }
        if try !change.grants.names(Grant.rolesWereGiven.name) { _ = try change.grant(Grant.rolesWereGiven) }
    }

    private func requireRecord(_ entity: EntityDefinition, _ id: UUID, on connection: isolated PostgresConnection) throws {
        let rows = try connection.query(
            "SELECT FROM \(organization.qualified(entity.logicalName)) WHERE \(entity.idColumn) = $1", [.uuid(id)])
        if rows.isEmpty { throw FieldsealError.noSuchRecord(entity, id.text) }
    }

    /// Refuses a disabled user as a new member of a team. A member that is disabled later stays a member.
    private func requireEnabledMember(
        _ association: Association, _ id: UUID, _ other: UUID, on connection: isolated PostgresConnection
    ) throws {
        guard association.relationship.schemaName == ManyToManyRelationship.teamMembership.schemaName else { return }
        let (team, user) = association.own === association.relationship.first ? (id, other) : (other, id)
        guard let name = try DisabledUsers.name(of: user, self, on: connection) else { return }
        let members = try connection.query(
            "SELECT FROM \(organization.qualified("teammembership")) WHERE teamid = $1 AND systemuserid = $2",
            [.uuid(team), .uuid(user)])
        guard members.isEmpty else { return }
        throw FieldsealError(
            .userDisabled, "The user \(name) is disabled and can't become a member of a team. Enable the user first.")
    }

    /// How an event names a record: a role by its name, any other record by its id.
    private func title(of id: UUID, _ entity: EntityDefinition, on connection: isolated PostgresConnection) throws -> String {
        guard entity === EntityDefinition.role else { return id.text }
        let row = try connection.query("SELECT name FROM \(organization.qualified("role")) WHERE roleid = $1", [.uuid(id)]).first
        return try row?.decode(0) ?? id.text
    }

    /// Deletes a record. If the record is a team, also removes its grants, so that rows of the team that SQL restores grant
    /// nothing.
    func forgettingRoles(
        of entity: EntityDefinition, _ id: UUID, on connection: isolated PostgresConnection,
        _ delete: () throws -> PostgresResult
    ) throws -> PostgresResult {
        guard entity === EntityDefinition.team else { return try delete() }
        return try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
            let members = try connection.query(
                "SELECT systemuserid FROM \(organization.qualified("teammembership")) WHERE teamid = $1", [.uuid(id)])
            let roles = try connection.query(
                """
                SELECT t.roleid, r.name FROM \(organization.qualified("teamroles")) AS t
                  LEFT JOIN \(organization.qualified("role")) AS r USING (roleid) WHERE t.teamid = $1
                """, [.uuid(id)])
            return try change.keepingAnAdministrator(on: connection) { change in
                let result = try delete()
                guard result.affectedRows > 0 else { return result }
                try releaseOwner(entity, id, on: connection)
                for row in members { try change.remove(Grant.member(try row.decode(0), of: id).name) }
                for row in roles { try change.remove(Grant.teamRole(try row.decode(0), "", of: id).name) }
                try recordLoss(of: members, roles, by: id, &change, on: connection)
                // SQL may hide rows of links during this deletion and restore them later. The entry that `end` makes ensures that
                // the restored rows grant nothing, not even to a new team with the same id.
                try change.end(Grant.links(of: id))
                return result
            }
        }
    }

    /// Records the members and roles that a deleted team had.
    private func recordLoss(
        of members: PostgresResult, _ roles: PostgresResult, by team: UUID, _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws {
        let names = try roles.map { try $0.decodeIfPresent(1, as: String.self) ?? $0.decode(0, as: UUID.self).text }
        let users = try members.map { try $0.decode(0, as: UUID.self).text }
        // A team without links is recorded too. SQL may hide its links.
        let losses = [(SecurityEvent.Kind.roleTaken, "role", names), (.memberRemoved, "systemuser", users)].filter { !$0.2.isEmpty }
        for (kind, entity, lost) in losses.isEmpty ? [(.memberRemoved, "systemuser", ["none"])] : losses {
            let details = "team \(team.text), \(entity) \(lost.joined(separator: ", "))"
            try change.append(SecurityEvent(kind, .succeeded, details: details), by: caller, on: connection)
        }
    }
}
