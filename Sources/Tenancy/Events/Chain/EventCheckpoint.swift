package import CellCrypto
import Foundation
import JSON
import Model
package import PostgresClient

/// The last verified event of an organization's chain, in `config.event_checkpoint`.
package struct EventCheckpoint: Sendable, Equatable {
    package let lastID: Int
    package let head: [UInt8]

    private static let label = "event_checkpoint"

    private func fields(_ organization: Organization) -> [[UInt8]] { [organization.id.bytes, Array("\(lastID)".utf8), head] }

    /// The checkpoint; nil if there is none.
    ///
    /// - Throws: ``EventChainProblem`` if this service did not write the row.
    package static func read(
        _ organization: Organization,
        under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws -> EventCheckpoint? {
        let rows = try connection.query(
            "SELECT last_id, head, tag FROM config.event_checkpoint WHERE organization_id = $1", [.uuid(organization.id)])
        guard let row = rows.first else { return nil }
        let checkpoint = EventCheckpoint(lastID: try row.decode(0), head: try row.decode(1, as: PostgresBytes.self).bytes)
        guard try kek.accepts(row.decode(2, as: PostgresBytes.self).bytes, label: label, over: checkpoint.fields(organization))
        else {
            throw EventChainProblem("the checkpoint of the chain (config.event_checkpoint) was not written by this service")
        }
        return checkpoint
    }

    /// Writes this checkpoint, with a tag under the KEK. The former checkpoint is replaced.
    package func write(
        _ organization: Organization,
        under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws {
        _ = try connection.query(
            """
            INSERT INTO config.event_checkpoint (organization_id, last_id, head, verified_on, kek_id, tag)
            VALUES ($1, $2, $3, now(), $4, $5)
            ON CONFLICT (organization_id) DO UPDATE SET last_id = excluded.last_id, head = excluded.head,
                verified_on = excluded.verified_on, kek_id = excluded.kek_id, tag = excluded.tag
            """,
            [
                .uuid(organization.id), .int64(Int64(lastID)), .bytes(head), .text(kek.id),
                .bytes(try kek.tag(label: Self.label, over: fields(organization))),
            ])
    }
}
