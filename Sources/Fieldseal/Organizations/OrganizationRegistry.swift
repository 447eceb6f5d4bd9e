public import CellCrypto
public import Foundation
import Migrations
import PostgresClient

/// The organizations of a deployment, for who may make them: a role that may act as `fieldseal_owner`.
public struct OrganizationRegistry: Sendable {
    private let conninfo: String
    private let kek: KeyEncryptionKey
    private let policy: KeyPolicy

    /// - Parameter conninfo: Connects as a role that may `SET ROLE fieldseal_owner`.
    public init(conninfo: String, kek: KeyEncryptionKey, policy: KeyPolicy = KeyPolicy()) {
        self.conninfo = conninfo
        self.kek = kek
        self.policy = policy
    }

    /// Creates an organization: its schema, its first records, and a generated key under which it is active from its
    /// first moment. One transaction.
    ///
    /// - Throws: ``FieldsealError`` when the name is malformed or taken.
    public func create(name: String, by caller: Caller) async throws -> Organization {
        guard Organization.isName(name) else {
            throw FieldsealError(
                .invalidArgument,
                "An organization's name is 1 to 39 lower-case letters, digits and hyphens, and begins with a letter.")
        }
        let organization = Organization(id: UUID(), name: name)
        return try await owning { connection in
            do {
                try connection.execute("CREATE SCHEMA \(quoteIdentifier(organization.schema))")
            } catch let error as PostgresError where error.sqlState == "42P06" {
                throw FieldsealError(
                    .duplicateRecord,
                    "The schema \(organization.schema) exists: the name is taken, or differs only by - and _, or the "
                        + "organization outlived its config (then `fieldseal org attach \(name)`).")
            }
            try register(organization, by: caller, attached: false, on: connection)
            try MigrationRunner.applyAll(
                to: .organization(id: organization.id, name: name, schema: organization.schema), on: connection)
            try seed(organization, on: connection)
            try activate(organization, by: caller, on: connection)
            try SecurityEvent(.organizationCreated, .succeeded, keyVersion: 1).insert(for: organization, by: caller, on: connection)
            return organization
        }
    }

    /// Registers a schema that is there already: restored by a DBA, or left over when `config` was lost.
    ///
    /// The organization keeps its id, since its cells are bound to it. It needs its key, unless `config` still has it.
    ///
    /// - Throws: ``FieldsealError`` when there is no such schema, or the name or the id is taken.
    public func attach(name: String, by caller: Caller) async throws -> Organization {
        guard Organization.isName(name) else {
            throw FieldsealError(.invalidArgument, "\(name.quotedForMessage) is not an organization's name.")
        }
        let schema = Organization.schema(of: name)
        return try await owning { connection in
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
            try register(organization, by: caller, attached: true, on: connection)
            let target = MigrationTarget.organization(id: organization.id, name: name, schema: schema)
            try MigrationRunner.adoptLedger(of: target, on: connection)
            try MigrationRunner.applyAll(to: target, on: connection)
            // A copy must not fetch, delete or send the original's mail: each mailbox is tested and enabled again.
            _ = try connection.query(
                """
                UPDATE \(organization.qualified("mailbox")) SET enabledforincomingemail = false, enabledforoutgoingemail = false,
                    enabledforact = false, versionnumber = nextval('\(organization.qualified("version_number"))')
                """)
            try SecurityEvent(.organizationAttached, .succeeded).insert(for: organization, by: caller, on: connection)
            return organization
        }
    }

    private func owning<Result: Sendable>(
        _ body: @Sendable (isolated PostgresConnection) throws -> Result
    ) async throws -> Result {
        let connection = try await PostgresConnection.connect(conninfo)
        return try await connection.run { connection in
            try connection.transaction {
                do {
                    try connection.execute("SET LOCAL ROLE fieldseal_owner")
                } catch let error as PostgresError where error.sqlState == "42501" {
                    throw MigrationError.mayNotBecomeOwner(role: connection.userName)
                } catch let error as PostgresError where error.sqlState == "22023" {
                    throw MigrationError.notBootstrapped
                }
                let migrated = try connection.query("SELECT to_regclass('config.organization') IS NOT NULL")
                guard try migrated[0].decode(0) else {
                    throw FieldsealError(.unexpected, "The database is not migrated yet: fieldseal migrate up.")
                }
                return try body(connection)
            }
        }
    }

    private func register(
        _ organization: Organization,
        by caller: Caller,
        attached: Bool,
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
        } catch let error as PostgresError where error.sqlState == "23505" {
            throw FieldsealError(
                .duplicateRecord, "The organization \(organization.name) is there already; see `fieldseal org list`.")
        }
    }

    /// The records that everything else refers to.
    private func seed(_ organization: Organization, on connection: isolated PostgresConnection) throws {
        let unit = UUID.timeOrdered()
        _ = try connection.query(
            "INSERT INTO \(organization.qualified("organization")) (organizationid, name) VALUES ($1, $2)",
            [.uuid(organization.id), .text(organization.name)])
        _ = try connection.query(
            "INSERT INTO \(organization.qualified("businessunit")) (businessunitid, name) VALUES ($1, $2)",
            [.uuid(unit), .text(organization.name)])
        _ = try connection.query(
            """
            INSERT INTO \(organization.qualified("transactioncurrency"))
                (transactioncurrencyid, currencyname, isocurrencycode, currencysymbol) VALUES ($1, 'US Dollar', 'USD', '$')
            """, [.uuid(.timeOrdered())])
        for role in Role.allCases {
            _ = try connection.query(
                "INSERT INTO \(organization.qualified("role")) (roleid, name, businessunitid) VALUES ($1, $2, $3)",
                [.uuid(.timeOrdered()), .text(role.rawValue), .uuid(unit)])
        }
    }

    private func activate(_ organization: Organization, by caller: Caller, on connection: isolated PostgresConnection) throws {
        let text = try OrganizationKeyText.generate()
        let salt = try randomBytes(count: DataKey.saltLength)
        let key = try DataKey(derivedFrom: text, salt: salt, iterations: policy.iterations)
        let keyCheck = try KeyCheck.seal(under: key, organization: organization.id, keyVersion: 1).bytes
        let rotationID = UUID()
        for function in ["create_generation", "finish_generation"] {
            _ = try connection.query("SELECT \(organization.qualified(function))(1)")
        }
        _ = try connection.query(
            "SELECT \(organization.qualified("switch_generation"))(1, $1, $2, $3, $4, $5, $6)",
            [
                .bytes(salt), .int32(Int32(policy.iterations)), .bytes(keyCheck), .text(key.fingerprint), .uuid(rotationID),
                .uuid(organization.id),
            ])
        _ = try connection.query(
            """
            INSERT INTO config.organization_key (organization_id, key_version, wrapped_text, wrapped_data, kek_id, fingerprint,
                rotation_id, origin, created_by)
            VALUES ($1, 1, $2, $3, $4, $5, $6, 'generated', $7)
            """,
            [
                .uuid(organization.id), .bytes(try kek.wrap(text, organization: organization.id, keyVersion: 1).bytes),
                .bytes(try kek.wrap(key, organization: organization.id, keyVersion: 1).bytes), .text(kek.id),
                .text(key.fingerprint), .uuid(rotationID), .text(caller.actor),
            ])
    }
}

/// An organization as `org list` shows it.
public struct OrganizationEntry: Sendable {
    public let organization: Organization
    public let createdOn: Date
    public let attachedOn: Date?

    /// The organizations of a deployment, by name.
    public static func list(_ deployment: Deployment) async throws -> [OrganizationEntry] {
        try await deployment.pool.withConnection { connection in
            try connection.query("SELECT organization_id, name, created_on, attached_on FROM config.organization ORDER BY name")
                .map { row in
                    OrganizationEntry(
                        organization: Organization(id: try row.decode(0), name: try row.decode(1)),
                        createdOn: try row.decode(2), attachedOn: try row.decodeIfPresent(3))
                }
        }
    }
}
