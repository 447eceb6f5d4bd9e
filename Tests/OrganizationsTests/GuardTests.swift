import Foundation
import PostgresClient
import TestOrganizations
import Testing

@testable import Tenancy

@Suite("Guards that the database enforces without the service")
struct GuardTests {
    private static let record = "00000000-0000-4000-8000-000000000001"
    private static let cell = "('\\x0100000001'::bytea || decode(repeat('00', 64), 'hex'))"

    /// Expects that a statement is refused with this SQLSTATE, both as the owner and as a superuser.
    private func refused(_ organization: TestOrganization, _ sql: String, _ state: String, role: String? = nil) async {
        for role in role.map({ [$0] }) ?? [nil, "fieldseal_owner"] {
            let error = await #expect(throws: PostgresError.self, "\(sql)") { try await organization.execute(sql, role: role) }
            #expect(error?.sqlState == state, "\(sql) as \(role ?? "superuser"): \(error?.description ?? "nothing")")
        }
    }

    @Test("A cell column accepts only cells of the current key version")
    func cellsOnly() async throws {
        try await TestOrganization.with { organization in
            try await organization.execute("INSERT INTO mailbox (mailboxid) VALUES ('\(Self.record)')")
            for value in [
                "'plaintext'::bytea", "'\\x00'::bytea", "convert_to(encode(\(Self.cell), 'hex'), 'UTF8')",
                "substring(\(Self.cell) FROM 1 FOR 68)",
            ] {
                await refused(organization, "INSERT INTO mailbox_cell VALUES (1, '\(Self.record)', \(value))", "23514")
            }
            await refused(
                organization,
                "INSERT INTO mailbox_cell VALUES (1, '\(Self.record)', '\\x0100000002'::bytea || decode(repeat('00', 64), 'hex'))",
                "23514")
            await refused(organization, "INSERT INTO mailbox_cell VALUES (2, '\(Self.record)', \(Self.cell))", "23514")
            try await organization.execute("INSERT INTO mailbox_cell VALUES (1, '\(Self.record)', \(Self.cell))")
            await refused(organization, "UPDATE mailbox_cell SET password = 'x'", "23514")
        }
    }

    @Test("A cell without its record is refused, and deleting the record deletes the cell")
    func recordAndCell() async throws {
        try await TestOrganization.with { organization in
            await refused(organization, "INSERT INTO mailbox_cell VALUES (1, '\(Self.record)', \(Self.cell))", "23503")
            try await organization.execute(
                "INSERT INTO mailbox (mailboxid) VALUES ('\(Self.record)'); INSERT INTO mailbox_cell VALUES (1, '\(Self.record)', \(Self.cell))"
            )
            #expect(try await organization.sql("SELECT count(*) FROM mailbox_cell", as: Int.self) == [1])
            try await organization.execute("DELETE FROM mailbox", role: "fieldseal_service")
            #expect(try await organization.sql("SELECT count(*) FROM mailbox_cell", as: Int.self) == [0])
        }
    }

    @Test(
        "An index over a cell column is refused",
        arguments: [
            "CREATE INDEX ON mailbox_cell (password)", "CREATE INDEX ON mailbox_cell_k1 (password)",
            "CREATE INDEX ON mailbox_cell_k1 (length(password))", "CREATE INDEX ON mailbox_cell (mailboxid) INCLUDE (password)",
            "CREATE INDEX ON mailbox_cell (mailboxid) WHERE password IS NOT NULL",
            "ALTER TABLE mailbox_cell_k1 ADD UNIQUE (password)",
            "ALTER TABLE mailbox_cell_k1 ADD EXCLUDE USING btree (password WITH =)",
        ])
    func indexes(statement: String) async throws {
        try await TestOrganization.with { organization in
            await refused(organization, statement, "FS002")
            try await organization.execute("CREATE INDEX ON mailbox_cell (mailboxid); CREATE INDEX ON mailbox (emailaddress)")
        }
    }

    @Test("Tables of records and cells can't be truncated, and ids can't be changed")
    func truncateAndIds() async throws {
        try await TestOrganization.with { organization in
            try await organization.execute(
                "INSERT INTO mailbox (mailboxid) VALUES ('\(Self.record)'); INSERT INTO mailbox_cell VALUES (1, '\(Self.record)', \(Self.cell))"
            )
            for table in ["mailbox", "mailbox_cell", "mailbox_cell_k1", "queue", "usersettings_cell"] {
                await refused(organization, "TRUNCATE \(table)", "FS003")
            }
            await refused(organization, "UPDATE mailbox SET mailboxid = gen_random_uuid()", "FS004")
            await refused(organization, "UPDATE mailbox_cell SET mailboxid = gen_random_uuid()", "FS004")
        }
    }

    @Test("The current key can't be deleted, and a wrapped key can't be updated")
    func organizationKey() async throws {
        try await TestOrganization.with { organization in
            await refused(organization, "DELETE FROM config.organization_key", "FS006")
            await refused(organization, "TRUNCATE config.organization_key", "FS006")
            await refused(organization, "UPDATE config.organization_key SET wrapped_text = wrapped_data", "FS006")
            await refused(organization, "UPDATE config.organization_key SET fingerprint = repeat('0', 16)", "FS006")
        }
    }

    @Test("Security events can be inserted and read, but not changed or deleted")
    func securityEvents() async throws {
        try await TestOrganization.with { organization in
            let kinds = try await organization.sql("SELECT kind FROM security_event", as: String.self)
            #expect(kinds == ["organization created"])
            for statement in ["UPDATE security_event SET actor = 'x'", "DELETE FROM security_event", "TRUNCATE security_event"] {
                await refused(organization, statement, "FS007")
                await refused(organization, statement, "42501", role: "fieldseal_service")
            }
        }
    }

    @Test("The service's role can't change tables, write a partition of cells, or change the key version or a key check")
    func service() async throws {
        try await TestOrganization.with { organization in
            try await organization.execute("INSERT INTO mailbox (mailboxid) VALUES ('\(Self.record)')")
            for statement in [
                "INSERT INTO mailbox_cell_k1 VALUES (1, '\(Self.record)', \(Self.cell))", "UPDATE encryption SET key_version = 9",
                "DELETE FROM encryption",
                "DROP TABLE mailbox", "ALTER TABLE mailbox_cell DISABLE TRIGGER ALL", "CREATE TABLE mine (a int)",
            ] {
                await refused(organization, statement, "42501", role: "fieldseal_service")
            }
            let owned = try await organization.sql(
                "SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = 'fieldseal_service'", as: Int.self)
            #expect(owned == [0])
        }
    }

    @Test("The inspector's role reads cells and the status of keys, but no wrapped key and no verifier of a secret")
    func inspector() async throws {
        try await TestOrganization.with { organization in
            for statement in [
                "SELECT * FROM mailbox_cell", "SELECT * FROM config.encryption_status", "SELECT * FROM config.key_history",
            ] {
                try await organization.execute(statement, role: "fieldseal_inspector")
            }
            for statement in [
                "SELECT * FROM config.organization_key", "SELECT * FROM config.api_client_secret",
                "SELECT * FROM config.signing_key",
                "DELETE FROM mailbox", "INSERT INTO security_event (kind, outcome, actor) VALUES ('a', 'refused', 'b')",
            ] {
                await refused(organization, statement, "42501", role: "fieldseal_inspector")
            }
        }
    }

    @Test("Every SECURITY DEFINER or PL/pgSQL function of the program has a fixed search path")
    func searchPaths() async throws {
        try await TestOrganization.with { organization in
            let open = try await organization.sql(
                """
                SELECT oid::regprocedure::text FROM pg_proc
                WHERE pronamespace IN ('\(organization.organization.schema)'::regnamespace, 'config'::regnamespace, 'cell'::regnamespace)
                  AND (prosecdef OR prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql'))
                  AND NOT coalesce(array_to_string(proconfig, ',') LIKE '%search_path=%', false)
                """, as: String.self)
            #expect(open == [])
        }
    }
}
