package import CellCrypto
import Foundation
import JSON
import Model
package import PostgresClient

/// The beginning of an organization's chain after old events were archived, in `config.event_archive`.
package struct EventArchivePosition: Sendable, Equatable {
    /// How many events were archived in total.
    package let events: Int
    /// The newest archived event, its hash, and its time in microseconds since 1970-01-01 UTC.
    package let lastID: Int
    package let head: [UInt8]
    package let lastMicroseconds: Int

    package init(events: Int, lastID: Int, head: [UInt8], lastMicroseconds: Int) {
        self.events = events
        self.lastID = lastID
        self.head = head
        self.lastMicroseconds = lastMicroseconds
    }

    private static let label = "event_archive"

    private func fields(_ organization: Organization) -> [[UInt8]] {
        [organization.id.bytes] + [events, lastID, lastMicroseconds].map { Array("\($0)".utf8) } + [head]
    }

    /// The position; nil if no event was archived.
    ///
    /// - Throws: ``EventChainProblem`` if this service did not write the row.
    package static func read(
        _ organization: Organization,
        under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws -> EventArchivePosition? {
        let rows = try connection.query(
            """
            SELECT events, last_id, head, (extract(epoch FROM last_occurred_on) * 1000000)::bigint, tag
              FROM config.event_archive WHERE organization_id = $1
            """, [.uuid(organization.id)])
        guard let row = rows.first else { return nil }
        let position = EventArchivePosition(
            events: try row.decode(0), lastID: try row.decode(1), head: try row.decode(2, as: PostgresBytes.self).bytes,
            lastMicroseconds: try row.decode(3))
        guard try kek.accepts(row.decode(4, as: PostgresBytes.self).bytes, label: label, over: position.fields(organization)) else {
            throw EventChainProblem("where the chain begins (config.event_archive) was not written by this service")
        }
        return position
    }

    /// Reads the position. If this service did not write the row, throws a ``FieldsealError`` that says what the operator can do.
    package static func require(
        _ organization: Organization, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws -> EventArchivePosition? {
        do {
            return try read(organization, under: kek, on: connection)
        } catch let problem as EventChainProblem {
            throw FieldsealError(
                .organizationDisabled,
                "\(organization.name): \(problem.description). `fieldseal org attach \(organization.name)` accepts the chain as it is."
            )
        }
    }

    /// Writes the position. The connection's role must be able to act as the database owner.
    package func write(
        _ organization: Organization,
        under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws {
        _ = try connection.query(
            """
            INSERT INTO config.event_archive (organization_id, events, last_id, head, last_occurred_on, kek_id, tag)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (organization_id) DO UPDATE SET events = excluded.events, last_id = excluded.last_id, head = excluded.head,
                last_occurred_on = excluded.last_occurred_on, kek_id = excluded.kek_id, tag = excluded.tag
            """,
            [
                .uuid(organization.id), .int64(Int64(events)), .int64(Int64(lastID)), .bytes(head),
                .timestamp(microseconds: Int64(lastMicroseconds)), .text(kek.id),
                .bytes(try kek.tag(label: Self.label, over: fields(organization))),
            ])
    }

    /// The first event in `security_event`: its id, the hash before it, and its time; nil if the table is empty.
    private static func beginning(
        of organization: Organization, on connection: isolated PostgresConnection
    ) throws -> (id: Int, previousHash: [UInt8], microseconds: Int)? {
        let rows = try connection.query(
            """
            SELECT security_event_id, previous_hash, (extract(epoch FROM occurred_on) * 1000000)::bigint
              FROM \(organization.qualified("security_event")) ORDER BY security_event_id LIMIT 1
            """)
        return try rows.first.map { row in
            (try row.decode(0), row.isNull(1) ? [] : try row.decode(1, as: PostgresBytes.self).bytes, try row.decode(2))
        }
    }

    /// Whether `security_event` continues the newest archive, or begins with the organization's first event.
    package static func fitsBeginning(
        of organization: Organization, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws -> Bool {
        do {
            let position = try read(organization, under: kek, on: connection)
            return try beginning(of: organization, on: connection).map { $0.previousHash == position?.head ?? [] } ?? true
        } catch is EventChainProblem {
            return false
        }
    }

    /// Accepts the current beginning of the chain, when an organization's state is attested again.
    ///
    /// - Returns: How many events are known to be archived.
    package static func settle(
        _ organization: Organization, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws -> Int {
        // A deployment that is being migrated may lack the table. Then nothing was archived.
        guard try connection.query("SELECT to_regclass('config.event_archive') IS NOT NULL")[0].decode(0) else { return 0 }
        _ = try connection.query("DELETE FROM config.event_checkpoint WHERE organization_id = $1", [.uuid(organization.id)])
        if try fitsBeginning(of: organization, under: kek, on: connection) {
            return try read(organization, under: kek, on: connection)?.events ?? 0
        }
        _ = try connection.query("DELETE FROM config.event_archive WHERE organization_id = $1", [.uuid(organization.id)])
        guard let first = try beginning(of: organization, on: connection), first.id > 0, first.previousHash.count == 32 else {
            return 0
        }
        try EventArchivePosition(
            events: 0, lastID: first.id - 1, head: first.previousHash, lastMicroseconds: first.microseconds - 1
        ).write(organization, under: kek, on: connection)
        return 0
    }
}

extension AttestedState {
    /// The organization's attested state. Only the tag of the state itself is verified.
    ///
    /// - Throws: ``EventChainProblem`` if it does not verify.
    static func verified(
        _ organization: Organization, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws -> AttestedState {
        let rows = try connection.query(
            "SELECT \(columns) FROM config.attested_state AS a WHERE a.organization_id = $1", [.uuid(organization.id)])
        do {
            guard let row = rows.first else { throw AttestationProblem.missing }
            let state = try AttestedState(row, at: 0)
            try state.verify(under: kek)
            return state
        } catch let problem as AttestationProblem {
            throw EventChainProblem("the organization is refused: \(problem.description)")
        }
    }
}
