package import CellCrypto
import Foundation
import JSON
import KeyManagement
import Migrations
import Model
import PostgresClient
package import Tenancy

/// The options of an import.
package struct OrganizationImport: Sendable {
    package let manifest: ExportManifest
    /// The organization's new name.
    package let name: String
    /// Whether the organization gets a new id and a new key, for a clone in the same deployment as its original. A clone needs
    /// ``key``.
    package let isNew: Bool
    /// The key of the export's cells, if it was given.
    package let key: OrganizationKeyText?
    /// Tables, and columns written as `table.column`, that this program does not know and that are left out on purpose.
    package let discards: Set<String>

    package init(_ manifest: ExportManifest, as name: String, isNew: Bool, key: OrganizationKeyText?, discards: [String] = []) {
        self.manifest = manifest
        self.name = name
        self.isNew = isNew
        self.key = key
        self.discards = Set(discards)
    }
}

extension OrganizationRegistry {
    /// Makes an organization from an export in one transaction: a new schema by the program's own migrations, with the rows of the
    /// file. Nothing of the file is executed.
    ///
    /// - Parameters:
    ///   - rows: The output of `pg_restore --data-only`: fills a buffer, and returns the number of bytes; 0 at the end.
    ///   - confirm: Called before the commit. This function throws if `rows` was not the whole file, or the file changed meanwhile.
    /// - Throws: ``FieldsealError`` when an organization has the name or the id already, or the file is refused. The database is
    ///   then unchanged.
    package func importOrganization(
        _ request: OrganizationImport,
        rows: @escaping @Sendable (UnsafeMutableRawBufferPointer) throws -> Int,
        confirm: @escaping @Sendable () async throws -> Void,
        by caller: Caller
    ) async throws -> Organization {
        guard Organization.isName(request.name) else {
            throw FieldsealError(.invalidArgument, "\(request.name.quotedForMessage) is not an organization's name.")
        }
        try Organization.checkReachable(request.name)
        let organization = Organization(id: request.isNew ? UUID() : request.manifest.organizationID, name: request.name)
        let steps = try ImportSteps(request, organization: organization, registry: self, caller: caller)
        let connection = try await PostgresConnection.connect(conninfo, applicationName: "fieldseal org import")
        do {
            try await connection.run { connection in
                try connection.execute("BEGIN")
                do {
                    try begin(on: connection)
                    try steps.run(DumpReader(schema: request.manifest.schema, source: rows), on: connection)
                    try await confirm()
                } catch {
                    connection.rollBack()
                    throw error
                }
                try connection.commit()
            }
        } catch let error as PostgresError where error.kind == .unknownOutcome {
            try await lookUp(organization, after: error)
        }
        return organization
    }

    /// Finds out whether a commit whose response was lost registered an organization, and throws `loss` if it did not.
    private func lookUp(_ organization: Organization, after loss: PostgresError) async throws {
        let isThere: Bool
        do {
            isThere = try await asOwner { connection in
                try connection.settleCommits()
                return try connection.query(
                    "SELECT EXISTS (SELECT FROM config.organization WHERE organization_id = $1 AND name = $2)",
                    [.uuid(organization.id), .text(organization.name)])[0].decode(0)
            }
        } catch {
            throw FieldsealError(
                .unexpected,
                "The connection to the database was lost during the commit, so it is not known whether the import succeeded. "
                    + "If it did, `fieldseal org list` shows \(organization.name).")
        }
        guard isThere else { throw loss }
    }

    static func wrongKey(_ manifest: ExportManifest) -> FieldsealError {
        FieldsealError(
            .restoreCannotDecrypt,
            "This key does not open the export's cells. Wanted is the key of version \(manifest.keyVersion) with the "
                + "fingerprint \(manifest.fingerprint), set on \(ISO8601.text(manifest.keySetOn)).")
    }
}

/// The steps of one import, in its transaction.
private struct ImportSteps: Sendable {
    let request: OrganizationImport
    let organization: Organization
    let registry: OrganizationRegistry
    let caller: Caller
    /// The key of the cells; nil for an import without the key.
    private let data: DataKey?
    /// Whether the file's tag is valid under the key; false without the key.
    private let isAuthentic: Bool

    private var manifest: ExportManifest { request.manifest }
    private var version: PostgresParameter { .int32(Int32(manifest.keyVersion)) }
    /// How many rows are decrypted and encrypted at a time.
    private static let batch = 2_000

    init(_ request: OrganizationImport, organization: Organization, registry: OrganizationRegistry, caller: Caller) throws {
        self.request = request
        self.organization = organization
        self.registry = registry
        self.caller = caller
        guard MigrationCatalog.migrations(.organization).contains(where: { $0.name == request.manifest.schemaVersion }) else {
            throw FieldsealError(
                .invalidArgument,
                "The export is of schema \(request.manifest.schemaVersion.quotedForMessage), which this program does not know. "
                    + "Import it with version \(request.manifest.productVersion) or newer.")
        }
        data = try request.key.map { try request.manifest.dataKey(from: $0) }
        isAuthentic = try data.map { try request.manifest.requireAuthentic(under: $0) } ?? false
        guard data != nil || !request.isNew else {
            throw FieldsealError(.invalidArgument, "A clone needs the key of the export, because every cell is sealed again.")
        }
    }

    func run(_ reader: DumpReader, on connection: isolated PostgresConnection) throws {
        try requireFree(on: connection)
        let target = MigrationTarget.organization(id: organization.id, name: organization.name, schema: organization.schema)
        try connection.execute("CREATE SCHEMA \(quoteIdentifier(organization.schema))")
        try registry.register(organization, by: caller, attached: true, on: connection)
        try MigrationRunner.applyAll(to: target, through: manifest.schemaVersion, on: connection)
        try connection.execute("SET LOCAL fieldseal.maintenance = 'on'")
        _ = try connection.query("SELECT \(organization.qualified("create_generation"))($1)", [version])
        let encryption = try load(reader, on: connection)
        var keys: [Grant] = []
        if let data, request.isNew {
            keys = [try seal(from: data, on: connection)]
        } else {
            try adopt(encryption, on: connection)
        }
        try MigrationRunner.applyAll(to: target, on: connection)
        try registry.quiet(organization, by: caller, on: connection)
        try registry.attest(organization, keys: keys, on: connection)
        let origin = "\(manifest.cellCount) cells, from \(manifest.organization) (\(manifest.organizationID.text)), "
        try SecurityEvent(
            request.isNew ? .organizationCloned : .organizationImported, .succeeded,
            keyVersion: request.isNew ? manifest.keyVersion + 1 : manifest.keyVersion, fingerprint: keys.first?.keyFingerprint,
            details: origin + (isAuthentic ? "authentic" : "authenticity not checked")
        ).insert(for: organization, by: caller, under: registry.kek, on: connection)
    }

    private func requireFree(on connection: isolated PostgresConnection) throws {
        let taken = try connection.query(
            "SELECT (SELECT o.name FROM config.organization AS o WHERE o.organization_id = $1), to_regnamespace($2) IS NOT NULL",
            [.uuid(organization.id), .text(quoteIdentifier(organization.schema))])[0]
        if let original = try taken.decodeIfPresent(0, as: String.self) {
            throw FieldsealError(
                .duplicateRecord,
                "The organization with this id is here already, as \(original). To import a second one as a clone, add --as-new and "
                    + "the key."
            )
        }
        guard try !taken.decode(1, as: Bool.self) else {
            throw FieldsealError(
                .duplicateRecord,
                "The schema \(organization.schema) exists. Take another name with --name; or, when a DBA restored it, register it with "
                    + "`fieldseal org attach \(organization.name)`.")
        }
    }

    private func load(_ reader: DumpReader, on connection: isolated PostgresConnection) throws -> DumpLoader.Encryption {
        let loader = DumpLoader(organization: organization, manifest: manifest, discards: request.discards)
        do {
            let guards = try SuspendedGuards(in: organization.schema, on: connection)
            try loader.load(reader, on: connection)
            let encryption = try loader.checked(on: connection)
            if request.isNew { try rename(on: connection) }
            try guards.restore(on: connection)
            return encryption
        } catch let error as PostgresError where error.kind == .server {
            throw DumpLoader.refused(error.table ?? "its tables", error)
        }
    }

    /// Replaces the original's id by the clone's id in all tables, except in the cells.
    private func rename(on connection: isolated PostgresConnection) throws {
        for table in EntityCatalog.all.filter({ $0["organizationid"] != nil }).map(\.logicalName) {
            _ = try connection.query(
                "UPDATE \(organization.qualified(table)) SET organizationid = $1 WHERE organizationid = $2",
                [.uuid(organization.id), .uuid(manifest.organizationID)])
        }
    }

    /// Makes the loaded generation the current one, and puts the exported key in force.
    private func adopt(_ encryption: DumpLoader.Encryption, on connection: isolated PostgresConnection) throws {
        _ = try connection.query("SELECT \(organization.qualified("finish_generation"))($1)", [version])
        try GenerationKey(
            version: manifest.keyVersion, salt: manifest.salt, iterations: manifest.iterations, keyCheck: manifest.keyCheck,
            fingerprint: manifest.fingerprint, changeID: encryption.changeID
        ).putInForce(in: organization, on: connection)
        // The key keeps the time at which it was put in force in the source, so that its age does not change.
        let guards = try SuspendedGuards(in: organization.schema, table: "encryption", on: connection)
        _ = try connection.query(
            "UPDATE \(organization.qualified("encryption")) SET changed_on = $1", [.timestamp(encryption.changedOn)])
        try guards.restore(on: connection)
    }

    /// Encrypts every cell again for the clone, under a new generated key, and drops the loaded cells.
    private func seal(from old: DataKey, on connection: isolated PostgresConnection) throws -> Grant {
        let key = try NewKey(
            OrganizationKeyText.generate(), of: organization, version: manifest.keyVersion + 1, policy: registry.policy)
        let keys = KeyPair(oldVersion: manifest.keyVersion, old: old, newVersion: key.version, new: key.data)
        _ = try connection.query(
            "SELECT \(organization.qualified("create_generation"))($1)", [.int32(Int32(key.version))])
        for entity in EntityCatalog.withCells {
            try seal(entity, keys, on: connection)
            try connection.execute("DROP TABLE \(organization.qualified("\(entity.cellTable)_k\(manifest.keyVersion)"))")
        }
        _ = try connection.query(
            "SELECT \(organization.qualified("finish_generation"))($1)", [.int32(Int32(key.version))])
        return try key.establish(under: registry.kek, by: caller, on: connection)
    }

    private func seal(_ entity: EntityDefinition, _ keys: KeyPair, on connection: isolated PostgresConnection) throws {
        let resealer = try CellResealer(
            entity, organization: organization.id, origin: manifest.organizationID, keys: keys, toleratesUnreadable: false)
        let old = CellRows(of: entity, in: organization, keyVersion: keys.oldVersion)
        let new = CellRows(of: entity, in: organization, keyVersion: keys.newVersion)
        // Each entity's cursor has its own name. With a common name, the prepared FETCH of one cursor would not fit the next.
        let cursor = "\(entity.logicalName)_imported"
        try connection.execute("DECLARE \(cursor) NO SCROLL CURSOR FOR \(old.query)")
        while true {
            let rows = try connection.query("FETCH \(Self.batch) FROM \(cursor)")
            if rows.isEmpty { break }
            var output = BinaryCopyRows()
            for row in rows {
                let cells = try entity.encryptedAttributes.indices.map {
                    try row.decodeIfPresent($0 + 1, as: PostgresBytes.self)?.bytes
                }
                let id: UUID = try row.decode(0)
                new.append(try resealer.reseal(cells, id: id), of: id, to: &output)
            }
            try connection.copy(output, into: new.target)
        }
        try connection.execute("CLOSE \(cursor)")
    }
}
