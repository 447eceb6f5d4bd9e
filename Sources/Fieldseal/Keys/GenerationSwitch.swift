import CellCrypto
import Foundation
import PostgresClient

/// The statements that make the new generation the current one, while writers wait.
struct GenerationSwitch: Sendable {
    let organization: Organization
    let caller: Caller
    let kek: KeyEncryptionKey
    let keys: KeyPair
    let rotationID: UUID
    let preparation: (salt: [UInt8], iterations: Int, keyCheck: [UInt8])
    /// The first ten columns of the key's row in `config`.
    let record: [PostgresParameter]
    /// What is attested of the new key.
    let grant: Grant
    let unreadable: [UnreadableCell]

    func run(
        cells: Int,
        alsoUnreadable: [UnreadableCell],
        heldSince start: ContinuousClock.Instant,
        on connection: isolated PostgresConnection
    ) throws {
        for cell in unreadable + alsoUnreadable { try quarantine(cell, on: connection) }
        let version = Int32(keys.newVersion)
        _ = try connection.query(
            "SELECT \(organization.qualified("switch_generation"))($1, $2, $3, $4, $5, $6, $7)",
            [
                .int32(version), .bytes(preparation.salt), .int32(Int32(preparation.iterations)), .bytes(preparation.keyCheck),
                .text(keys.new.fingerprint), .uuid(rotationID), .uuid(organization.id),
            ])
        _ = try connection.query(
            "UPDATE config.organization_key SET retired_on = now() WHERE organization_id = $1 AND retired_on IS NULL",
            [.uuid(organization.id)])
        let details = "\(cells) cells" + (unreadable.isEmpty ? "" : ", \(unreadable.count) to quarantine")
        try AttestedState.change(of: organization, under: kek, on: connection) { change in
            guard change.state.keyVersion == keys.oldVersion else {
                throw FieldsealError(.encryption, "Another key was put in force meanwhile. Nothing was changed.")
            }
            change.setKey(version: keys.newVersion, fingerprint: keys.new.fingerprint)
            _ = try change.grant(grant)
            try change.append(
                SecurityEvent(
                    .keyChanged, .succeeded, keyVersion: keys.newVersion, fingerprint: keys.new.fingerprint, details: details),
                by: caller, on: connection)
        }
        // `now()` is when the transaction began.
        _ = try connection.query(
            """
            INSERT INTO config.organization_key (organization_id, key_version, wrapped_text, wrapped_data, kek_id, fingerprint,
                rotation_id, origin, created_by, created_from, cells, duration, pause)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, clock_timestamp() - now(), $12 * interval '1 second')
            """,
            record + [.int64(Int64(cells)), .double((.now - start) / .seconds(1))])
        _ = try connection.query("DELETE FROM config.key_change WHERE organization_id = $1", [.uuid(organization.id)])
    }

    /// Keeps a cell that does not open, unless it was replaced meanwhile, and clears its record's flag.
    private func quarantine(_ cell: UnreadableCell, on connection: isolated PostgresConnection) throws {
        guard let entity = EntityCatalog.entity(cell.entity) else { return }
        let attribute = quoteIdentifier(cell.attribute)
        let id = entity.idColumn
        let kept = try connection.query(
            """
            INSERT INTO \(organization.qualified("quarantined_cell"))
                (rotation_id, entity, record_id, attribute, key_version, content)
            SELECT $1, $2, \(id), $3, key_version, \(attribute)
              FROM \(organization.qualified("\(entity.cellTable)_k\(keys.oldVersion)"))
             WHERE key_version = $4 AND \(id) = $5 AND \(attribute) = $6
            """,
            [
                .uuid(rotationID), .text(cell.entity), .text(cell.attribute), .int32(Int32(keys.oldVersion)),
                .uuid(cell.address.record), .bytes(cell.content),
            ])
        guard kept.affectedRows == 1, let flag = entity.setFlags[cell.attribute] else { return }
        _ = try connection.query(
            "UPDATE \(organization.qualified(entity.logicalName)) SET \(quoteIdentifier(flag)) = false WHERE \(id) = $1",
            [.uuid(cell.address.record)])
    }
}
