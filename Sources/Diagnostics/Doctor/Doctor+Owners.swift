import PostgresClient

extension Doctor {
    /// Reports schemas of the program that are missing, or that `fieldseal_owner` can't read because another role owns them.
    func owners(on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            WITH wanted AS (
                SELECT name, to_regnamespace(name) AS schema FROM (VALUES ('config'), ('cell')) AS v (name)
                UNION ALL
                SELECT n.nspname::text, n.oid::regnamespace FROM pg_namespace AS n
                 WHERE n.nspname LIKE 'org\\_%' AND EXISTS (SELECT FROM pg_class AS c WHERE c.relnamespace = n.oid AND c.relname = 'encryption')
            )
            SELECT w.name, o.rolname::text FROM wanted AS w LEFT JOIN pg_namespace AS n ON n.oid = w.schema
              LEFT JOIN pg_roles AS o ON o.oid = n.nspowner
             WHERE o.rolname IS DISTINCT FROM 'fieldseal_owner' AND EXISTS (SELECT FROM wanted AS a WHERE a.name <> 'cell' AND a.schema IS NOT NULL)
             ORDER BY 1
            """)
        return try rows.map { row in
            let schema: String = try row.decode(0)
            guard let owner: String = try row.decodeIfPresent(1) else {
                return Finding(
                    .error, "schema-missing", "the schema \(schema) does not exist", advice: "restore the database from a backup")
            }
            return Finding(
                .error, "owner-changed", "the schema \(schema) belongs to \(owner), and not to fieldseal_owner",
                advice:
                    "as a superuser, in this database: REASSIGN OWNED BY \(quoteIdentifier(owner)) TO fieldseal_owner, if all "
                    + "that it owns in this database belongs to the program; otherwise ALTER SCHEMA … OWNER TO fieldseal_owner, "
                    + "and the same for each object in the schema"
            )
        }
    }

    /// Runs one part of the examination. If the part fails, returns a finding with the reason.
    ///
    /// - Throws: ``PostgresError`` when the connection to the database is lost.
    func part(
        _ what: String, of subject: String = Finding.deployment, _ body: () async throws -> [Finding]
    ) async throws -> [Finding] {
        let watch = LockWatch(.application(Self.applicationName), in: administrativeConninfo)
        do {
            return try await body()
        } catch let error as PostgresError where error.isConnectionLoss {
            throw error
        } catch let error as PostgresError where error.state == .lockNotAvailable {
            return [heldUp(what, of: subject, by: error.lockHolder ?? watch.holder)]
        } catch {
            return [
                Finding(
                    .error, "not-checked", subject, "\(what) could not be checked: \(error)",
                    advice: "correct what the other findings name, then run fieldseal doctor again")
            ]
        }
    }
}
