package import PostgresClient
package import Tenancy

/// The objects in the journal of a move, compared with those that ``MoveJournal`` makes.
package struct MoveJournalContents: Sendable {
    /// The oids of the trigger functions that are as a move makes them.
    package private(set) var functions: [Int64] = []
    /// Kind and name of each object that is not as a move makes it.
    package private(set) var foreign: [(kind: String, name: String)] = []

    private let journal: MoveJournal
    /// The tables whose rows a move copies, by name. A key version in the name is left out, because the key may have been changed
    /// since a move was interrupted.
    private let tables: [String: MoveTable]

    /// Both lists are empty without a journal, or if the organization's schema is not whole.
    package init(of organization: Organization, on connection: isolated PostgresConnection) throws {
        journal = MoveJournal(of: organization)
        let there = try connection.query(
            "SELECT to_regnamespace($1) IS NOT NULL, to_regclass($2) IS NOT NULL",
            [.text(quoteIdentifier(journal.schema)), .text(organization.qualified("encryption"))])[0]
        guard try there.decode(0), try there.decode(1),
            let row = try connection.query("SELECT key_version FROM \(organization.qualified("encryption"))").first
        else {
            tables = [:]
            return
        }
        let list = try MoveTable.list(of: organization, keyVersion: try row.decode(0), on: connection)
        tables = Dictionary(list.map { (Self.withoutKeyVersion($0.name), $0) }, uniquingKeysWith: { first, _ in first })
        try compareFunctions(on: connection)
        try compareTables(of: organization, on: connection)
        try listOthers(on: connection)
    }

    private static func withoutKeyVersion(_ name: String) -> String { name.replacing(#/_cell_k[0-9]+$/#, with: "_cell") }

    /// The table to which a journal's table or function of a name belongs; nil if no move makes one of that name.
    private func expected(_ name: String) -> MoveTable? {
        tables[Self.withoutKeyVersion(name)].map {
            MoveTable(name: name, columns: $0.columns, keys: $0.keys, hasExactHashes: $0.hasExactHashes)
        }
    }

    private mutating func compareFunctions(on connection: isolated PostgresConnection) throws {
        let rows = try connection.query(
            """
            SELECT p.oid::bigint, p.proname::text, p.prosrc,
                   p.prokind = 'f' AND l.lanname = 'plpgsql' AND p.prosecdef AND p.pronargs = 0 AND p.prorettype = 'trigger'::regtype
                       AND pg_get_userbyid(p.proowner) = 'fieldseal_owner'
                       AND coalesce(p.proconfig = ARRAY['search_path=pg_catalog, pg_temp'], false)
              FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
             WHERE p.oid IN \(SchemaMembers.functions(of: "to_regnamespace($1)")) ORDER BY 2
            """, [.text(quoteIdentifier(journal.schema))])
        for row in rows {
            let name: String = try row.decode(1)
            if let table = expected(name), try row.decode(3), try row.decode(2, as: String.self) == journal.body(of: table) {
                functions.append(Int64(try row.decode(0, as: Int.self)))
            } else {
                foreign.append((kind: "function", name: "\(name)()"))
            }
        }
    }

    /// Compares the tables. The trigger functions run as the owner and write to these tables, so a trigger or a default there would
    /// run as the owner too.
    private mutating func compareTables(of organization: Organization, on connection: isolated PostgresConnection) throws {
        let rows = try connection.query(
            """
            SELECT c.relname::text, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C"),
                   c.relkind = 'r' AND c.relpersistence = 'u' AND pg_get_userbyid(c.relowner) = 'fieldseal_owner'
                       AND NOT (c.relhastriggers OR c.relhasrules OR c.relrowsecurity OR c.relispartition OR c.relhassubclass OR c.relhasindex)
                       AND NOT EXISTS (SELECT FROM aclexplode(c.relacl) AS x WHERE x.grantee <> c.relowner)
                       AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype <> 'n')
                       AND coalesce(bool_and(NOT a.atthasdef AND a.attacl IS NULL AND a.atttypid = s.atttypid), false)
              FROM pg_class AS c LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              LEFT JOIN pg_attribute AS s ON s.attrelid = to_regclass($2 || '.' || quote_ident(regexp_replace(c.relname::text, '_cell_k[0-9]+$', '_cell')))
                   AND s.attname = a.attname AND s.attnum > 0
             WHERE c.oid IN \(SchemaMembers.relations(of: "to_regnamespace($1)")) GROUP BY c.oid ORDER BY c.relname
            """, [.text(quoteIdentifier(journal.schema)), .text(quoteIdentifier(organization.schema))])
        for row in rows {
            let name: String = try row.decode(0)
            if let table = expected(name), try row.decodeIfPresent(1, as: String.self) == table.keyList, try row.decode(2) {
                continue
            }
            foreign.append((kind: "table", name: name))
        }
    }

    /// Lists the objects of other kinds, such as types and operators. A move makes none.
    private mutating func listOthers(on connection: isolated PostgresConnection) throws {
        let rows = try connection.query(
            """
            SELECT o.type, o.identity FROM pg_depend AS d, pg_identify_object(d.classid, d.objid, 0) AS o
             WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace($1)
               AND d.classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass) ORDER BY 1, 2
            """, [.text(quoteIdentifier(journal.schema))])
        for row in rows { foreign.append((kind: try row.decode(0), name: try row.decode(1))) }
    }
}
