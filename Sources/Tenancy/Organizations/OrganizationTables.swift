import Model
import PostgresClient

/// The tables that an organization needs.
package enum OrganizationTables {
    static let config = ["config.organization", "config.organization_key", "config.api_client", "config.attested_state"]
    static let own = ["encryption", "systemuser", "security_event"]

    /// An SQL expression for the names of the missing tables, separated by commas; empty if there are none.
    ///
    /// - Parameter schema: An SQL expression for the name of the organization's schema.
    package static func missing(schema: String) -> String {
        let names = config.map { "'\($0)'" } + own.map { "quote_ident(\(schema)) || '.\($0)'" }
        return """
            (SELECT coalesce(string_agg(t.name, ', ' ORDER BY t.place), '')
               FROM unnest(ARRAY[\(names.joined(separator: ", "))]) WITH ORDINALITY AS t (name, place)
              WHERE to_regclass(t.name) IS NULL)
            """
    }

    /// The error for a statement that found a table missing.
    ///
    /// - Returns: ``FieldsealError`` `.noResource` if the organization or its schema is missing; else `.organizationDisabled` with
    ///   the names of the missing tables.
    static func problem(of name: String, on connection: isolated PostgresConnection) throws -> FieldsealError {
        let row = try connection.query(
            """
            SELECT to_regclass('config.organization') IS NOT NULL, to_regnamespace(quote_ident($1)) IS NOT NULL,
                   \(missing(schema: "$1"))
            """, [.text(Organization.schema(of: name))])[0]
        let (hasRegister, hasSchema) = (try row.decode(0, as: Bool.self), try row.decode(1, as: Bool.self))
        let tables = try row.decode(2, as: String.self)
        guard hasRegister else { return missing(tables: "config.organization", name) }
        let known = try connection.query("SELECT FROM config.organization WHERE name = $1", [.text(name)])
        guard hasSchema, known.first != nil, !tables.isEmpty else { return .noSuchOrganization(name) }
        return missing(tables: tables, name)
    }

    /// The error for a statement that found a table missing, made from PostgreSQL's message. Used after the error has ended the
    /// transaction, when no query can run.
    static func problem(of name: String, after error: PostgresError) -> FieldsealError {
        let tables = config + own.map { "\(Organization.schema(of: name)).\($0)" }
        let table = tables.first { error.message.contains("\"\($0)\"") }
        return table.map { missing(tables: $0, name) } ?? .noSuchOrganization(name)
    }

    private static func missing(tables: String, _ name: String) -> FieldsealError {
        FieldsealError(
            .organizationDisabled,
            "The database lacks tables of the organization \(name): \(tables). An operator restores them from a backup, and then runs "
                + "fieldseal doctor.")
    }
}
