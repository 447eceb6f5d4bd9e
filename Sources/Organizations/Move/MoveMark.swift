import Foundation
import PostgresClient
import Tenancy

/// The state of an organization's move in one database, from `config.organization_move`. Without a row there, the organization
/// is in force in this database.
struct MoveMark: Sendable {
    enum State: String, Sendable {
        case here, arriving, moved
    }

    let organization: Organization
    let state: State
    let id: UUID?
    /// The name of the other database of the move.
    let other: String?

    /// Reads an organization's state; nil without such an organization. With `isKept`, locks the organization's row until the
    /// transaction ends.
    static func read(_ name: String, isKept: Bool = true, on connection: isolated PostgresConnection) throws -> MoveMark? {
        try connection.query(
            """
            SELECT o.organization_id, coalesce(m.state, '\(State.here.rawValue)'), m.move_id, m.other_database
              FROM config.organization AS o LEFT JOIN config.organization_move AS m USING (organization_id)
             WHERE o.name = $1 \(isKept ? "FOR NO KEY UPDATE OF o" : "")
            """, [.text(name)]
        ).first.map { row in
            MoveMark(
                organization: Organization(id: try row.decode(0), name: name),
                state: State(rawValue: try row.decode(1)) ?? .here, id: try row.decodeIfPresent(2),
                other: try row.decodeIfPresent(3))
        }
    }

    static func write(
        _ state: State, _ organization: Organization, _ id: UUID, other: String, by caller: Caller,
        on connection: isolated PostgresConnection
    ) throws {
        _ = try connection.query(
            """
            INSERT INTO config.organization_move (organization_id, move_id, state, other_database, moved_by)
            VALUES ($1, $2, $3, $4, $5)
            """, [.uuid(organization.id), .uuid(id), .text(state.rawValue), .text(other), .text(caller.actor)])
    }

    /// The schema's name while the copy in this database is not in force.
    static func schema(of organization: Organization, _ state: State) -> String {
        "\(state.rawValue)_\(organization.schema.dropFirst("org_".count))"
    }

    /// Renames the schema so that no program finds it. Each statement of the service names the schema.
    static func hide(_ organization: Organization, _ state: State, on connection: isolated PostgresConnection) throws {
        try connection.execute(
            "ALTER SCHEMA \(quoteIdentifier(organization.schema)) RENAME TO \(quoteIdentifier(schema(of: organization, state)))")
    }

    /// Restores the schema's name, and ends the move in this database.
    static func show(_ organization: Organization, _ state: State, on connection: isolated PostgresConnection) throws {
        try connection.execute(
            "ALTER SCHEMA \(quoteIdentifier(schema(of: organization, state))) RENAME TO \(quoteIdentifier(organization.schema))")
        _ = try connection.query("DELETE FROM config.organization_move WHERE organization_id = $1", [.uuid(organization.id)])
    }
}
