public import CellCrypto
import Foundation
import Migrations
import PostgresClient

/// An organization as it is at one moment, held still while its schema is dumped.
public struct OrganizationSnapshot: Sendable {
    private let connection: PostgresConnection
    /// What `pg_dump --snapshot` takes.
    public let id: String
    public let manifest: ExportManifest

    /// Opens a snapshot and counts the cells in it.
    ///
    /// - Parameter conninfo: Connects as a role that may `SET ROLE fieldseal_owner`.
    public static func open(_ name: String, conninfo: String, productVersion: String) async throws -> OrganizationSnapshot {
        let connection = try await PostgresConnection.connect(conninfo, applicationName: "fieldseal org export")
        let (id, manifest) = try await connection.run { connection in
            let state = try begin(name, on: connection)
            let organization = state.organization
            var cells: [String: Int] = [:]
            for entity in EntityCatalog.withCells {
                let counts = entity.encryptedAttributes.map { "count(\(quoteIdentifier($0.logicalName)))" }.joined(separator: ", ")
                let row = try connection.query(
                    "SELECT \(counts) FROM \(organization.qualified(entity.cellTable)) WHERE key_version = $1",
                    [.int32(Int32(state.keyVersion))])[0]
                for (index, attribute) in entity.encryptedAttributes.enumerated() {
                    cells[entity.cellName(attribute.logicalName)] = try row.decode(index)
                }
            }
            let manifest = ExportManifest(
                of: organization, schemaVersion: OrganizationState.schemaVersion, productVersion: productVersion, state: state,
                cells: cells)
            return (try connection.query("SELECT pg_export_snapshot()")[0].decode(0, as: String.self), manifest)
        }
        return OrganizationSnapshot(connection: connection, id: id, manifest: manifest)
    }

    /// Begins a transaction that sees one moment, and in which no table goes that its catalog names: pg_dump stops at one that is
    /// gone, such as a generation that a key change has just done with.
    private static func begin(_ name: String, on connection: isolated PostgresConnection) throws -> OrganizationState {
        while true {
            try connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL ROLE fieldseal_owner")
            let state = try OrganizationState.read(name, on: connection)
            let tables = try connection.query(
                "SELECT format('%I.%I', $1::text, relname) FROM pg_class WHERE relnamespace = $2::regnamespace AND relkind IN ('r', 'p')",
                [.text(state.organization.schema), .text(quoteIdentifier(state.organization.schema))]
            ).map { try $0.decode(0, as: String.self) }
            do {
                try connection.execute("LOCK TABLE \(tables.joined(separator: ", ")) IN ACCESS SHARE MODE")
                return state
            } catch let error as PostgresError where error.sqlState == "42P01" {
                // One went after the snapshot; a newer one does not see it.
                try connection.execute("ROLLBACK")
            }
        }
    }

    /// Lets the snapshot go.
    public func close() async { await connection.close() }
}

/// How a dump becomes an organization: what is run before and after what `pg_restore` prints, all in one transaction.
public struct ImportPlan: Sendable {
    public let manifest: ExportManifest
    public let name: String
    /// The schema that it ends in.
    public var schema: String { Organization.schema(of: name) }
    public let before: String
    public let after: String
}

extension OrganizationRegistry {
    /// Checks that an export can be imported under a name, and says how.
    ///
    /// - Parameter isNew: Whether it gets an id of its own, for a clone beside its original.
    /// - Throws: ``FieldsealError`` when the name or the id is taken, or the export is newer than this program.
    public func planImport(_ manifest: ExportManifest, as name: String, isNew: Bool) async throws -> ImportPlan {
        guard Organization.isName(name) else {
            throw FieldsealError(.invalidArgument, "\(name.quotedForMessage) is not an organization's name.")
        }
        guard MigrationCatalog.migrations(.organization).contains(where: { $0.name == manifest.schemaVersion }) else {
            throw FieldsealError(
                .invalidArgument,
                "The export is of schema \(manifest.schemaVersion.quotedForMessage), which this program does not know. "
                    + "Import it with version \(manifest.productVersion) or newer.")
        }
        let schema = Organization.schema(of: name)
        let isOccupied = try await owning { connection in
            let taken = try connection.query(
                """
                SELECT (SELECT o.name FROM config.organization AS o WHERE o.organization_id = $1),
                       to_regnamespace($2) IS NOT NULL, to_regnamespace($3) IS NOT NULL
                """, [.uuid(manifest.organizationID), .text(quoteIdentifier(schema)), .text(quoteIdentifier(manifest.schema))])[0]
            if let original = try taken.decodeIfPresent(0, as: String.self), !isNew {
                throw FieldsealError(
                    .duplicateRecord,
                    "The organization with this id is here already, as \(original). A clone beside it needs an id of its own: "
                        + "--as-new, with the key.")
            }
            guard try !taken.decode(1, as: Bool.self) else {
                throw FieldsealError(
                    .duplicateRecord,
                    "The schema \(schema) exists. Take another name with --name; or, when the schema was left by an import that "
                        + "was cut off, finish with `fieldseal org attach \(name)` or drop it.")
            }
            return try taken.decode(2, as: Bool.self)
        }
        let (source, target) = (quoteIdentifier(manifest.schema), quoteIdentifier(schema))
        let aside = quoteIdentifier("\(manifest.schema)__aside")
        let isRenamed = schema != manifest.schema
        // Nobody else sees the names in between: they are back when the transaction commits.
        let before = [
            "BEGIN", "SET LOCAL ROLE fieldseal_owner", "SET LOCAL fieldseal.maintenance = 'on'",
            isRenamed && isOccupied ? "ALTER SCHEMA \(source) RENAME TO \(aside)" : nil, "CREATE SCHEMA \(source)",
            "GRANT USAGE ON SCHEMA \(source) TO fieldseal_service, fieldseal_inspector",
        ]
        let after = [
            isRenamed ? "ALTER SCHEMA \(source) RENAME TO \(target)" : nil,
            isRenamed && isOccupied ? "ALTER SCHEMA \(aside) RENAME TO \(source)" : nil, "COMMIT",
        ]
        func script(_ statements: [String?]) -> String { statements.compactMap { $0.map { "\($0);\n" } }.joined() }
        return ImportPlan(manifest: manifest, name: name, before: script(before), after: script(after))
    }

    /// Registers what was restored under its own id, and brings it to the newest migration.
    public func finishImport(_ plan: ImportPlan, by caller: Caller) async throws -> Organization {
        try await adopt(name: plan.name, .organizationImported, by: caller)
    }

    /// Gives what was restored an id of its own, seals every cell again for it, and registers it, active. One transaction.
    ///
    /// - Throws: ``FieldsealError`` `.restoreCannotDecrypt` when `text` is not the export's key.
    public func finishClone(_ plan: ImportPlan, key text: OrganizationKeyText, by caller: Caller) async throws -> Organization {
        let manifest = plan.manifest
        guard try manifest.isOpened(by: text) else { throw Self.wrongKey(manifest) }
        let organization = Organization(id: UUID(), name: plan.name)
        let key = try NewKey(text, of: organization, version: manifest.keyVersion + 1, policy: policy)
        let old = try DataKey(derivedFrom: text, salt: manifest.salt, iterations: manifest.iterations)
        let keys = KeyPair(oldVersion: manifest.keyVersion, old: old, newVersion: key.version, new: key.data)
        let (writer, reader) = (try await PostgresConnection.connect(conninfo), try await PostgresConnection.connect(conninfo))
        do {
            try await writer.run { connection in
                try connection.execute("BEGIN; SET LOCAL ROLE fieldseal_owner")
                try rename(organization, from: manifest.organizationID, on: connection)
                try settle(organization, by: caller, on: connection)
                _ = try connection.query(
                    "SELECT \(organization.qualified("create_generation"))($1)", [.int32(Int32(key.version))])
            }
            try await reader.execute("SET ROLE fieldseal_owner")
            var cells = 0
            for entity in EntityCatalog.withCells {
                cells += try await CellRefill(
                    entity: entity, organization: organization, origin: manifest.organizationID, keys: keys,
                    toleratesUnreadable: false
                ).run(from: reader, to: writer).cells
            }
            let count = cells
            try await writer.run { connection in
                _ = try connection.query(
                    "SELECT \(organization.qualified("finish_generation"))($1)", [.int32(Int32(key.version))])
                let grant = try key.establish(origin: "activated", under: kek, by: caller, on: connection)
                try attest(organization, keys: [grant], on: connection)
                try SecurityEvent(
                    .organizationCloned, .succeeded, keyVersion: key.version, fingerprint: key.data.fingerprint,
                    details: "\(count) cells, from \(manifest.organization) (\(manifest.organizationID.text))"
                ).insert(for: organization, by: caller, under: kek, on: connection)
                try connection.commit()
            }
        } catch {
            await writer.rollBack()
            for connection in [writer, reader] { await connection.close() }
            throw error
        }
        for connection in [writer, reader] { await connection.close() }
        _ = try? await owning {
            try $0.query("SELECT \(organization.qualified("drop_generation"))($1)", [.int32(Int32(manifest.keyVersion))])
        }
        return organization
    }

    public static func wrongKey(_ manifest: ExportManifest) -> FieldsealError {
        FieldsealError(
            .restoreCannotDecrypt,
            "This key does not open the export's cells. Wanted is the key of version \(manifest.keyVersion) with the "
                + "fingerprint \(manifest.fingerprint), set on \(ISO8601.text(manifest.keySetOn)).")
    }

    /// Puts an organization's new id wherever its old one stands, but for the cells.
    private func rename(_ organization: Organization, from old: UUID, on connection: isolated PostgresConnection) throws {
        let ids: [PostgresParameter] = [.uuid(organization.id), .uuid(old)]
        // The row is protected, and a key change would not write its organization's id.
        try connection.execute("SET LOCAL fieldseal.maintenance = 'on'")
        _ = try connection.query(
            "UPDATE \(organization.qualified("encryption")) SET organization_id = $1 WHERE organization_id = $2", ids)
        let tables = EntityCatalog.all.filter { $0["organizationid"] != nil }.map(\.logicalName)
        for table in tables {
            _ = try connection.query(
                "UPDATE \(organization.qualified(table)) SET organizationid = $1 WHERE organizationid = $2", ids)
        }
    }
}

extension Session {
    /// Records that somebody took the organization's cells out into a file.
    public func recordExport(_ manifest: ExportManifest) async throws {
        try requireSystemAdministrator()
        try await record(
            SecurityEvent(
                .organizationExported, .succeeded, keyVersion: manifest.keyVersion, fingerprint: manifest.fingerprint,
                details: "\(manifest.cellCount) cells, SHA-256 \(manifest.dumpDigest)"))
    }
}
