import CellCrypto
import Foundation
import Migrations
import Model
import PostgresClient
package import Tenancy

/// A snapshot of an organization for dumping its schema.
package struct OrganizationSnapshot: Sendable {
    private let connection: PostgresConnection
    /// The id for `pg_dump --snapshot`.
    package let id: String
    package let manifest: ExportManifest
    /// The major version of the server.
    package let serverVersion: Int
    private let state: OrganizationState

    /// Opens a snapshot and counts the cells in it.
    ///
    /// - Parameter conninfo: Connects as a role that may `SET ROLE fieldseal_owner`.
    package static func open(
        _ name: String,
        in deployment: Deployment,
        conninfo: String,
        productVersion: String
    ) async throws -> OrganizationSnapshot {
        let connection = try await PostgresConnection.connect(conninfo, applicationName: "fieldseal org export")
        let (id, manifest, version, state) = try await connection.run { connection in
            let state = try begin(name, in: deployment, on: connection)
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
            let row = try connection.query("SELECT pg_export_snapshot(), current_setting('server_version_num')::integer / 10000")[0]
            return (try row.decode(0, as: String.self), manifest, try row.decode(1, as: Int.self), state)
        }
        return OrganizationSnapshot(connection: connection, id: id, manifest: manifest, serverVersion: version, state: state)
    }

    /// The key for the manifest's tag; nil while the organization needs its key.
    package func authentication(in deployment: Deployment) -> ExportAuthentication? {
        deployment.keyring.dataKey(of: state).map(ExportAuthentication.init)
    }

    /// Begins a transaction with a snapshot, and locks every table in its catalog. Without these locks pg_dump would fail if a
    /// table, such as an old generation, were dropped meanwhile.
    private static func begin(
        _ name: String,
        in deployment: Deployment,
        on connection: isolated PostgresConnection
    ) throws -> OrganizationState {
        var attempt = 1
        while true {
            try connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL ROLE fieldseal_owner")
            let state = try OrganizationState.read(name, in: deployment, isInspection: true, on: connection)
            let names = try connection.query(
                """
                SELECT relname::text FROM pg_class
                 WHERE oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND relkind IN ('r', 'p')
                """,
                [.text(quoteIdentifier(state.organization.schema))]
            ).map { try $0.decode(0, as: String.self) }
            try requireTables(names, of: state.organization)
            let tables = names.map(state.organization.qualified).joined(separator: ", ")
            do {
                try connection.execute("LOCK TABLE \(tables) IN ACCESS SHARE MODE")
                return state
            } catch let error as PostgresError where error.state == .undefinedTable && attempt < lockAttempts {
                // A table was dropped after the snapshot was taken. A newer snapshot does not include this table.
                attempt += 1
                try connection.execute("ROLLBACK")
            }
        }
    }

    /// How many snapshots are tried. An attempt fails only if another table was dropped after its snapshot was taken.
    private static let lockAttempts = 100

    /// Checks that the organization has each table of its migrations. An import refuses a file that lacks one of these tables.
    private static func requireTables(_ names: [String], of organization: Organization) throws(FieldsealError) {
        let ours = MigrationTables(.organization, applied: Set(MigrationCatalog.migrations(.organization).map(\.name)))
        let missing = ours.tables.union(ours.partitioned).union(ours.unlogged).subtracting(names).sorted()
        guard missing.isEmpty else {
            throw FieldsealError(
                .organizationDisabled,
                "The organization \(organization.name) lacks the tables \(missing.joined(separator: ", ")), and no file without them could be "
                    + "imported. Restore them from a backup; `fieldseal doctor` names what else is missing.")
        }
    }

    /// Ends the snapshot.
    package func close() async { await connection.close() }
}
