import Migrations
import Organizations
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports each right that the program's migrations grant and that the service's role lacks: in `config`, in `cell` and in
    /// every organization's schema.
    ///
    /// The check is about effective rights, including rights through another role or PUBLIC.
    func serviceRights(on connection: isolated PostgresConnection) throws -> [Finding] {
        let registry = OrganizationRegistry(conninfo: administrativeConninfo, kek: deployment.kek, policy: deployment.policy)
        let reference: SchemaReference
        do {
            reference = try SchemaReference.make(registry, on: connection)
        } catch let error as PostgresError where error.isConnectionLoss {
            throw error
        } catch {
            return [
                Finding(
                    .notice, "rights-not-compared",
                    "the rights of the service's role were not compared with the program's migrations: \(error)",
                    advice: "run this command on the primary, after fieldseal migrate up")
            ]
        }
        let wanted = [("config", reference.config), ("cell", reference.cell.wanted), ("", reference.organization)]
        let rights = wanted.flatMap { schema, description in
            (description.lines ?? [:]).keys.compactMap { ServiceRight($0, in: schema) }
        }
        return try ServiceRight.missing(rights, on: connection)
    }
}

/// A right that the program's migrations give to the service's role.
private struct ServiceRight {
    /// The role to which the migrations give rights.
    static let role = "fieldseal_service"

    let privilege: String
    /// The schema's name; empty for an organization's schema.
    let schema: String
    /// The table, view, sequence or function; empty for the schema itself.
    let object: String
    let column: String

    /// Reads a line such as `SELECT on mailbox.name to fieldseal_service`.
    ///
    /// - Returns: Nil for a right of another role.
    init?(_ line: SchemaDescription.Line, in schema: String) {
        guard line.kind == "grant", let match = line.name.wholeMatch(of: #/(\w+) on (.+) to fieldseal_service/#) else { return nil }
        privilege = String(match.1)
        self.schema = schema
        let place = match.2 == "the schema" ? "" : String(match.2)
        let parts = place.split(separator: ".", maxSplits: 1)
        object = parts.first.map(String.init) ?? ""
        column = parts.count > 1 ? String(parts[1]) : ""
    }

    /// A finding for each of these rights that the service's role lacks. Objects that do not exist are left out.
    static func missing(_ rights: [ServiceRight], on connection: isolated PostgresConnection) throws -> [Finding] {
        let values: [[String]] = [rights.map(\.privilege), rights.map(\.schema), rights.map(\.object), rights.map(\.column)]
        let rows = try connection.query(Self.statement, values.map { .text(arrayLiteral($0)) } + [.text(role)])
        return try rows.map { row in
            let (right, isSchema): (String, Bool) = (try row.decode(0), try row.decode(2))
            let place: String = try row.decode(1)
            return Finding(
                .error, "right-missing", "the service's role lacks \(right) on \(isSchema ? "the schema " : "")\(place)",
                advice: "as the owner: GRANT \(right) ON \(isSchema ? "SCHEMA " : "")\(place) TO \(role)")
        }
    }

    private static func arrayLiteral(_ texts: [String]) -> String {
        "{\(texts.map { "\"\($0.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\"" }.joined(separator: ","))}"
    }

    /// SQL for the rights that are missing. The statement leaves out the cell tables of generations, whose names contain the key
    /// version. Another check of the doctor compares those tables.
    private static let statement = """
        WITH wanted AS (
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS w (privilege, schema, object, col) WHERE object !~ '@'
        ), place AS (
            SELECT w.*, n.oid AS namespace, n.nspname FROM wanted AS w JOIN pg_namespace AS n
                ON n.nspname = w.schema
                OR w.schema = '' AND n.nspname ~ '^org_' AND EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relname = 'encryption')
        ), asked AS MATERIALIZED (
            SELECT privilege, quote_ident(nspname) AS place, true AS is_schema, has_schema_privilege($5, namespace, privilege) AS has
              FROM place WHERE object = ''
            UNION ALL
            SELECT privilege || CASE WHEN col <> '' THEN format(' (%I)', col) ELSE '' END, format('%I.%I', nspname, c.relname), false,
                   CASE WHEN c.relkind = 'S' THEN has_sequence_privilege($5, c.oid, privilege)
                        WHEN col = '' THEN has_table_privilege($5, c.oid, privilege)
                        WHEN NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = col AND NOT attisdropped) THEN true
                        ELSE has_column_privilege($5, c.oid, col, privilege) END
              FROM place JOIN pg_class AS c ON c.relnamespace = namespace AND c.relname = object
            UNION ALL
            SELECT privilege, 'FUNCTION ' || p.oid::regprocedure, false, has_function_privilege($5, p.oid, privilege)
              FROM place JOIN pg_proc AS p ON p.pronamespace = namespace AND object = p.proname || '()'
        )
        SELECT DISTINCT privilege, place, is_schema FROM asked WHERE NOT has ORDER BY 3 DESC, 2, 1
        """
}
