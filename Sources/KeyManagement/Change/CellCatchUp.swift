import CellCrypto
import Foundation
import Model
import PostgresClient
import Tenancy

/// Copies again the cells that were written while the backfill copied.
struct CellCatchUp {
    let organization: Organization
    let keys: KeyPair
    let toleratesUnreadable: Bool
    /// The number of rows in the new generation, updated with each round.
    var rows: [String: Int]
    private(set) var unreadable: [UnreadableCell] = []

    /// How many records one round copies at most, so that memory stays bounded.
    private static let roundLength = 10_000

    init(organization: Organization, keys: KeyPair, toleratesUnreadable: Bool, rows: [String: Int]) {
        self.organization = organization
        self.keys = keys
        self.toleratesUnreadable = toleratesUnreadable
        self.rows = rows
    }

    /// Deletes notes from `cell_change`, and copies the cells of their records as they are now.
    ///
    /// A change and its note are committed together, and the note is deleted before the cell is read. So the cell that is read is
    /// at least as new as the note. Each later commit leaves another note.
    ///
    /// - Returns: The number of notes that were removed.
    mutating func run(on connection: isolated PostgresConnection) throws -> Int {
        let list = organization.qualified("cell_change")
        let notes = try connection.query(
            """
            DELETE FROM \(list) WHERE ctid = ANY(ARRAY(SELECT ctid FROM \(list) LIMIT \(Self.roundLength)))
            RETURNING entity, record_id
            """)
        var changed: [String: Set<UUID>] = [:]
        for note in notes { changed[try note.decode(0), default: []].insert(try note.decode(1)) }
        for entity in EntityCatalog.withCells {
            guard let ids = changed[entity.logicalName] else { continue }
            try copy(entity, ids, on: connection)
        }
        return notes.count
    }

    private mutating func copy(
        _ entity: EntityDefinition,
        _ ids: Set<UUID>,
        on connection: isolated PostgresConnection
    ) throws {
        let names = entity.encryptedAttributes.map { quoteIdentifier($0.logicalName) }
        let id = entity.idColumn
        let source = organization.qualified("\(entity.cellTable)_k\(keys.oldVersion)")
        let target = organization.qualified("\(entity.cellTable)_k\(keys.newVersion)")
        let resealer = try CellResealer(
            entity, organization: organization.id, keys: keys, toleratesUnreadable: toleratesUnreadable)
        let current = try connection.query(
            "SELECT \(id), \(names.joined(separator: ", ")) FROM \(source) WHERE key_version = $1 AND \(id) = ANY($2)",
            [.int32(Int32(keys.oldVersion)), .uuids(Array(ids))])
        var statements: [(sql: String, parameters: [PostgresParameter])] = []
        var kept: Set<UUID> = []
        let upsert = """
            INSERT INTO \(target) (key_version, \(id), \(names.joined(separator: ", ")))
            VALUES ($1, $2, \(names.indices.map { "$\($0 + 3)" }.joined(separator: ", ")))
            ON CONFLICT (key_version, \(id)) DO UPDATE SET \(names.map { "\($0) = excluded.\($0)" }.joined(separator: ", "))
            RETURNING xmax = 0
            """
        for row in current {
            let record: UUID = try row.decode(0)
            let old = try names.indices.map { try row.decodeIfPresent($0 + 1, as: PostgresBytes.self)?.bytes }
            let new = try resealer.reseal(old, id: record)
            guard new.contains(where: { $0 != nil }) else { continue }
            kept.insert(record)
            statements.append((upsert, [.int32(Int32(keys.newVersion)), .uuid(record)] + new.map { .bytes($0) }))
        }
        let gone = ids.subtracting(kept)
        if !gone.isEmpty {
            statements.append(
                (
                    "DELETE FROM \(target) WHERE key_version = $1 AND \(id) = ANY($2)",
                    [.int32(Int32(keys.newVersion)), .uuids(Array(gone))]
                ))
        }
        let results = try connection.pipeline(statements)
        for (index, result) in results.enumerated() {
            if index < kept.count {
                if try result[0].decode(0, as: Bool.self) { rows[entity.logicalName, default: 0] += 1 }
            } else {
                rows[entity.logicalName, default: 0] -= result.affectedRows
            }
        }
        unreadable += resealer.unreadable
    }
}
