import CellCrypto
import Foundation
import Model
import PostgresClient
import Tenancy

/// The statements that make the new generation the current one. Writers wait while the statements run.
struct GenerationSwitch: Sendable {
    let organization: Organization
    let caller: Caller
    let kek: KeyEncryptionKey
    let keys: KeyPair
    let newKey: GenerationKey
    /// The new key's row in `config`.
    let row: OrganizationKeyRow
    let unreadable: [UnreadableCell]

    func run(
        cells: Int,
        alsoUnreadable: [UnreadableCell],
        heldSince start: ContinuousClock.Instant,
        on connection: isolated PostgresConnection
    ) throws {
        try quarantine(alsoUnreadable, on: connection)
        try newKey.putInForce(in: organization, on: connection)
        _ = try connection.query(
            "UPDATE config.organization_key SET retired_on = now() WHERE organization_id = $1 AND retired_on IS NULL",
            [.uuid(organization.id)])
        let quarantined = unreadable.count + alsoUnreadable.count
        let details = "\(cells) cells" + (quarantined == 0 ? "" : ", \(quarantined) to quarantine")
        try AttestedState.change(of: organization, under: kek, on: connection) { change in
            guard change.state.keyVersion == keys.oldVersion else { throw KeyChange.otherKey }
            change.setKey(version: keys.newVersion, fingerprint: keys.new.fingerprint)
            _ = try change.grant(row.grant)
            _ = try change.grant(
                .keyDerivation(salt: newKey.salt, iterations: newKey.iterations, keyCheck: newKey.keyCheck))
            try change.append(
                SecurityEvent(
                    .keyChanged, .succeeded, keyVersion: keys.newVersion, fingerprint: keys.new.fingerprint, details: details),
                by: caller, on: connection)
        }
        try row.insert(after: .init(cells: cells, pause: .now - start), on: connection)
        _ = try connection.query("DELETE FROM config.key_change WHERE organization_id = $1", [.uuid(organization.id)])
    }

    /// How many cells one statement moves.
    private static let batch = 5_000

    /// Moves cells that do not open to quarantine, unless they were replaced meanwhile, and clears their records' flags.
    func quarantine(_ cells: [UnreadableCell], on connection: isolated PostgresConnection) throws {
        let groups = Dictionary(grouping: cells) { [$0.entity, $0.attribute] }
        for (_, cells) in groups.sorted(by: { $0.key.joined(separator: ".") < $1.key.joined(separator: ".") }) {
            for start in stride(from: 0, to: cells.count, by: Self.batch) {
                try quarantine(together: Array(cells[start..<min(start + Self.batch, cells.count)]), on: connection)
            }
        }
    }

    /// - Parameter cells: Cells of one attribute, at least one.
    private func quarantine(together cells: [UnreadableCell], on connection: isolated PostgresConnection) throws {
        guard let first = cells.first else { return }
        guard let entity = EntityCatalog.entity(first.entity), let flag = entity.isSetColumns[first.attribute] else {
            throw FieldsealError(
                .encryption, "\(first.entity).\(first.attribute) is not an encrypted attribute. The key was not changed.")
        }
        let (attribute, id) = (quoteIdentifier(first.attribute), entity.idColumn)
        // The audit's entries for the changed flags name the caller.
        _ = try connection.pipeline([
            caller.auditSettings,
            (
                """
                WITH kept AS (
                    INSERT INTO \(organization.qualified("quarantined_cell"))
                        (rotation_id, entity, record_id, attribute, key_version, content)
                    SELECT $1, $2, c.\(id), $3, c.key_version, c.\(attribute)
                      FROM \(organization.qualified("\(entity.cellTable)_k\(keys.oldVersion)")) AS c
                      JOIN unnest($5::uuid[], $6::bytea[]) AS w (id, content) ON w.id = c.\(id) AND w.content = c.\(attribute)
                     WHERE c.key_version = $4 RETURNING record_id)
                UPDATE \(organization.qualified(entity.logicalName)) AS r SET \(quoteIdentifier(flag)) = false
                  FROM kept WHERE r.\(id) = kept.record_id
                """,
                [
                    .uuid(newKey.changeID), .text(first.entity), .text(first.attribute), .int32(Int32(keys.oldVersion)),
                    .uuids(cells.map(\.address.record)), .bytesArray(cells.map(\.content)),
                ]
            ),
        ])
    }
}
