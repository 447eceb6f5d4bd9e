package import CellCrypto
import Foundation
import JSON
import KeyManagement
import Migrations
import Model
package import PostgresClient
import Records
package import Tenancy

/// The organizations of a deployment. Changing organizations needs a role that may act as `fieldseal_owner`.
package struct OrganizationRegistry: Sendable {
    let conninfo: String
    let kek: KeyEncryptionKey
    let policy: KeyPolicy

    /// - Parameter conninfo: Connects as a role that may `SET ROLE fieldseal_owner`.
    package init(conninfo: String, kek: KeyEncryptionKey, policy: KeyPolicy = KeyPolicy()) {
        self.conninfo = conninfo
        self.kek = kek
        self.policy = policy
    }

    /// Creates an organization in one transaction: its schema, its first records, and a generated key. Encryption is active from
    /// the start.
    ///
    /// - Throws: ``FieldsealError`` when the name is malformed, or another organization has it.
    package func create(name: String, by caller: Caller) async throws -> Organization {
        guard Organization.isName(name) else {
            throw FieldsealError(
                .invalidArgument,
                "An organization's name is 1 to 39 lower-case letters, digits and hyphens, and begins with a letter.")
        }
        try Organization.checkReachable(name)
        let organization = Organization(id: UUID(), name: name)
        let key = firstKey(of: organization)
        return try await asOwner { connection in
            do {
                try connection.execute("CREATE SCHEMA \(quoteIdentifier(organization.schema))")
            } catch let error as PostgresError where error.state == .duplicateSchema {
                throw FieldsealError(
                    .duplicateRecord,
                    "The schema \(organization.schema) exists already. Another organization has this name, or one that differs only "
                        + "by - and _. If a DBA restored the schema without config, register it (`fieldseal org attach \(name)`)."
                )
            }
            try fill(organization, key, by: caller, on: connection)
            return organization
        }
    }

    /// Creates an organization in the caller's transaction, which the caller rolls back.
    package func make(_ organization: Organization, by caller: Caller, on connection: isolated PostgresConnection) throws {
        let key = firstKey(of: organization)
        try connection.execute("CREATE SCHEMA \(quoteIdentifier(organization.schema))")
        try fill(organization, key, by: caller, on: connection)
    }

    private func firstKey(of organization: Organization) -> DerivedInBackground {
        let policy = policy
        return DerivedInBackground { try NewKey(OrganizationKeyText.generate(), of: organization, version: 1, policy: policy) }
    }

    /// Fills the empty schema of a new organization.
    private func fill(
        _ organization: Organization, _ firstKey: DerivedInBackground, by caller: Caller, on connection: isolated PostgresConnection
    ) throws {
        try register(organization, by: caller, attached: false, on: connection)
        try MigrationRunner.makeWithFirstGeneration(
            .organization(id: organization.id, name: organization.name, schema: organization.schema), on: connection)
        try seed(organization, on: connection)
        let key = try firstKey.wait().establishFirst(under: kek, by: caller, on: connection)
        try attest(organization, keys: [key], on: connection)
        try SecurityEvent(.organizationCreated, .succeeded, keyVersion: 1, fingerprint: key.keyFingerprint).insertFirst(
            for: organization, by: caller, under: kek, on: connection)
    }

    /// Registers an existing schema: one that a DBA restored, or that is left after `config` was lost.
    ///
    /// The organization keeps its id, because its cells are bound to it. The organization needs its key again, if `config` does not
    /// have the key any more.
    ///
    /// - Throws: ``FieldsealError`` when there is no such schema, or a registered organization has the name or the id. For a
    ///   registered organization, use ``attestAgain(name:as:trustingTags:by:)``.
    package func attach(name: String, by caller: Caller) async throws -> Organization {
        try await adopt(name: name, .organizationAttached, by: caller)
    }

    /// Registers a schema with a new name, and migrates it to the newest version.
    func adopt(name: String, _ event: SecurityEvent.Kind, by caller: Caller) async throws -> Organization {
        guard Organization.isName(name) else {
            throw FieldsealError(.invalidArgument, "\(name.quotedForMessage) is not an organization's name.")
        }
        try Organization.checkReachable(name)
        let schema = Organization.schema(of: name)
        return try await asOwner { connection in
            let there = try connection.query(
                "SELECT to_regclass($1) IS NOT NULL", [.text("\(quoteIdentifier(schema)).encryption")])
            guard try there[0].decode(0),
                let row = try connection.query(
                    "SELECT organization_id FROM \(quoteIdentifier(schema)).encryption"
                ).first
            else {
                throw FieldsealError(
                    .objectDoesNotExist,
                    "There is no organization in the schema \(schema). Restore it first, or make one: fieldseal org create \(name)."
                )
            }
            let organization = Organization(id: try row.decode(0), name: name)
            try settle(organization, by: caller, on: connection)
            try attest(organization, on: connection)
            try SecurityEvent(event, .succeeded).insert(for: organization, by: caller, under: kek, on: connection)
            if let problem = try auditProblems(of: organization, on: connection).first {
                try AuditAnchor.beginAnew(organization, by: caller, under: kek, because: problem, on: connection)
            }
            return organization
        }
    }

    /// Registers a schema that was attached or imported, and adapts it to this deployment.
    func settle(_ organization: Organization, by caller: Caller, on connection: isolated PostgresConnection) throws {
        try register(organization, by: caller, attached: true, on: connection)
        // The schema may contain work that was unfinished where it comes from, such as a sweep.
        try SweepMarks.mark(organization, on: connection)
        let target = MigrationTarget.organization(id: organization.id, name: organization.name, schema: organization.schema)
        try MigrationRunner.adoptLedger(of: target, on: connection)
        try fixSearchPaths(in: organization.schema, on: connection)
        try MigrationRunner.applyAll(to: target, on: connection)
        try quiet(organization, by: caller, on: connection)
    }

    /// Sets the organization's name here, and prevents it from fetching and sending the original's mail.
    func quiet(_ organization: Organization, by caller: Caller, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            "UPDATE \(organization.qualified("organization")) SET name = $1 WHERE name <> $1", [.text(organization.name)])
        _ = try connection.pipeline([caller.auditSettings])
        // Each mailbox must be tested and enabled again.
        _ = try connection.query(
            """
            UPDATE \(organization.qualified("mailbox")) SET enabledforincomingemail = false, enabledforoutgoingemail = false,
                enabledforact = false, versionnumber = nextval('\(organization.qualified("version_number"))')
             WHERE enabledforincomingemail OR enabledforoutgoingemail OR enabledforact
            """)
        _ = try connection.query(
            """
            UPDATE \(organization.qualified("email")) SET statuscode = \(EmailStatus.failed.sql), failure = 'The organization was brought here while this waited to be sent.'
             WHERE statuscode IN \(EmailStatus.outbound.sql)
            """)
        // The operator who brings the schema here is responsible for its mail servers, so they are authorized.
        try MailDestination.authorizeAll(in: organization, under: kek, on: connection)
    }

    /// Changes the `search_path` of a renamed schema's functions to its new name.
    ///
    /// `ALTER FUNCTION` would read the functions of each name in all schemas, which takes long with many organizations. `CREATE OR
    /// REPLACE` does not read them, and keeps owners, rights and comments.
    func fixSearchPaths(in schema: String, on connection: isolated PostgresConnection) throws {
        let functions = try connection.query(
            #"""
            SELECT regexp_replace(pg_get_functiondef(p.oid), '\n SET search_path TO [^\n]*\n',
                       format(E'\n SET search_path TO %L, \'pg_temp\'\n', $2::text))
              FROM pg_proc AS p
             WHERE p.oid IN \#(SchemaMembers.functions(of: "$1::text::regnamespace"))
               AND EXISTS (SELECT FROM unnest(p.proconfig) AS c
                    WHERE c ~ '^search_path="?org_' AND c !~ ('^search_path="?' || $2 || '"?(,|$)'))
            """#, [.text(quoteIdentifier(schema)), .text(schema)])
        guard !functions.isEmpty else { return }
        try connection.execute("SET LOCAL fieldseal.maintenance = 'on'; SET LOCAL check_function_bodies = off")
        for row in functions { try connection.execute(row.decode(0)) }
        try connection.execute("RESET check_function_bodies")
    }

    func asOwner<Result: Sendable>(
        isolation: PostgresConnection.Isolation = .readCommitted,
        lockLimit: Duration = .zero,
        _ body: @Sendable (isolated PostgresConnection) throws -> Result
    ) async throws -> Result {
        let connection = try await PostgresConnection.connect(conninfo)
        try await connection.limitLocks(to: lockLimit)
        let watch = LockWatch(.backends([await connection.backendID]), in: conninfo)
        do {
            return try await connection.run { connection in
                try connection.transaction(isolation: isolation) {
                    try begin(on: connection)
                    return try body(connection)
                }
            }
        } catch let error as PostgresError where [.undefinedTable, .undefinedSchema].contains(error.state) {
            throw FieldsealError.lostTable(error.message)
        } catch let error as PostgresError where error.state == .lockNotAvailable {
            throw error.heldUp(for: lockLimit, by: watch)
        } catch let held as HeldTables {
            throw held.error(watch.holder)
        }
    }

    /// How long a statement waits for a lock of another transaction, in a change that is one transaction.
    static let lockLimit = Duration.seconds(10)

    /// Acts as the owner until the transaction ends.
    package func begin(on connection: isolated PostgresConnection) throws {
        try MigrationRunner.becomeOwner(on: connection)
        let migrated = try connection.query("SELECT to_regclass('config.organization') IS NOT NULL")
        guard try migrated[0].decode(0) else {
            throw FieldsealError(.unexpected, "The database is not migrated yet: fieldseal migrate up.")
        }
    }

    func register(
        _ organization: Organization,
        by caller: Caller,
        attached: Bool = false,
        on connection: isolated PostgresConnection
    ) throws {
        do {
            _ = try connection.query(
                """
                INSERT INTO config.organization (organization_id, name, schema_name, created_by, attached_on)
                VALUES ($1, $2, $3, $4, CASE WHEN $5 THEN now() END)
                """,
                [
                    .uuid(organization.id), .text(organization.name), .text(organization.schema), .text(caller.actor),
                    .bool(attached),
                ])
        } catch let error as PostgresError where error.state == .uniqueViolation {
            throw FieldsealError(
                .duplicateRecord, "The organization \(organization.name) exists already. See `fieldseal org list`.")
        }
        try UnsealedAudit.note(organization, on: connection)
    }

    /// Creates the records that all other records refer to, such as the business unit, if they are missing.
    func seed(_ organization: Organization, on connection: isolated PostgresConnection) throws {
        let units = organization.qualified("businessunit")
        _ = try connection.query(
            """
            INSERT INTO \(organization.qualified("organization")) (organizationid, name)
            SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM \(organization.qualified("organization")))
            """, [.uuid(organization.id), .text(organization.name)])
        _ = try connection.query(
            "INSERT INTO \(units) (businessunitid, name) SELECT $1, $2 WHERE NOT EXISTS (SELECT FROM \(units))",
            [.uuid(.timeOrdered()), .text(organization.name)])
        _ = try connection.query(
            """
            INSERT INTO \(organization.qualified("transactioncurrency"))
                (transactioncurrencyid, currencyname, isocurrencycode, currencysymbol)
            SELECT $1, 'US Dollar', 'USD', '$' WHERE NOT EXISTS (SELECT FROM \(organization.qualified("transactioncurrency")))
            """, [.uuid(.timeOrdered())])
        try seedRoles(of: organization, on: connection)
    }

    /// Creates the records of roles that are missing.
    func seedRoles(of organization: Organization, on connection: isolated PostgresConnection) throws {
        let units = organization.qualified("businessunit")
        for role in Role.allCases {
            _ = try connection.query(
                """
                INSERT INTO \(organization.qualified("role")) (roleid, name, businessunitid)
                SELECT $1, $2, (SELECT businessunitid FROM \(units) ORDER BY createdon, businessunitid LIMIT 1) ON CONFLICT DO NOTHING
                """, [.uuid(.timeOrdered()), .text(role.rawValue)])
        }
    }
}
