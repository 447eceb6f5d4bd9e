import CellCrypto
package import Foundation
import JSON
import Model
import PostgresClient

/// A security event that a write inserts into `unchained_event`. The insertion needs no lock of the chain, and is part of the
/// write's transaction.
///
/// The service links the event into the chain within seconds (``Session/chainPendingEvents()``). Until then a tag of the KEK shows
/// that the service wrote it.
package struct PendingEvent: Sendable {
    let microseconds: Int
    let kind: String
    let outcome: String
    let actor: String
    let address: String?
    let requestID: String?
    let details: String?

    package init(_ kind: SecurityEvent.Kind, details: String, by caller: Caller, at date: Date = Date()) {
        microseconds = Int((date.timeIntervalSince1970 * 1e6).rounded())
        self.kind = kind.rawValue
        outcome = SecurityEvent.Outcome.succeeded.rawValue
        actor = caller.actor
        address = caller.recordedAddress
        requestID = caller.requestID
        self.details = details
    }

    /// The columns of `unchained_event` that ``init(_:)`` reads.
    static let columns = """
        (extract(epoch FROM occurred_on) * 1000000)::bigint, kind, outcome, actor, address, request_id, details
        """

    init(_ row: PostgresRow) throws {
        microseconds = try row.decode(0)
        kind = try row.decode(1)
        outcome = try row.decode(2)
        actor = try row.decode(3)
        address = try row.decodeIfPresent(4)
        requestID = try row.decodeIfPresent(5)
        details = try row.decodeIfPresent(6)
    }

    private static let label = "unchained_event"

    private func fields(_ organization: Organization) -> [[UInt8]] {
        // A missing field is encoded differently from an empty one.
        let optional = [address, requestID, details].map { text -> [UInt8] in text.map { [1] + Array($0.utf8) } ?? [0] }
        return [organization.id.bytes, Array("\(microseconds)".utf8), Array(kind.utf8), Array(outcome.utf8), Array(actor.utf8)]
            + optional
    }

    func tag(_ organization: Organization, _ kek: KeyEncryptionKey) throws -> [UInt8] {
        try kek.tag(label: Self.label, over: fields(organization))
    }

    /// Whether the tag shows that the service wrote the event.
    func isAuthentic(by tag: [UInt8], _ organization: Organization, _ kek: KeyEncryptionKey) throws -> Bool {
        try kek.accepts(tag, label: Self.label, over: fields(organization))
    }

    /// The hash that the event gets in the chain, from its number there and the hash of the event before it.
    func hash(id: Int, after previous: [UInt8]?) throws -> [UInt8] {
        try EventHash.of(
            [
                .integer(Int64(id)), .integer(Int64(microseconds)), .string(kind), .string(outcome), .string(actor), .text(address),
                .text(requestID), .null, .null, .text(details),
            ], after: previous)
    }

    /// The event to link in place of this event, if the service did not write this event, or SQL copied it. The SQL function
    /// `chain_events` builds the same details.
    var refused: PendingEvent {
        PendingEvent(
            microseconds: microseconds, kind: SecurityEvent.Kind.eventRefused.rawValue,
            outcome: SecurityEvent.Outcome.refused.rawValue, actor: "unknown", address: nil, requestID: nil,
            details: "\(kind), \(outcome), by \(actor): \(details ?? "")")
    }

    private init(
        microseconds: Int, kind: String, outcome: String, actor: String, address: String?, requestID: String?, details: String?
    ) {
        self.microseconds = microseconds
        self.kind = kind
        self.outcome = outcome
        self.actor = actor
        self.address = address
        self.requestID = requestID
        self.details = details
    }
}

extension PendingEvent {
    /// The event and its tag as a row of VALUES.
    func row(_ organization: Organization, _ kek: KeyEncryptionKey, _ parameters: inout [PostgresParameter]) throws
        -> String
    {
        let first = parameters.count + 1
        parameters += [
            .timestamp(microseconds: Int64(microseconds)), .text(kind), .text(outcome), .text(actor), .text(address),
            .text(requestID), .text(details), .bytes(try tag(organization, kek)),
        ]
        return "(\((first..<first + 8).map { "$\($0)" }.joined(separator: ", ")))"
    }

    /// Returns an insert of the event and its tag. Inserts of events that one caller makes at the same time can be combined.
    func insert(into table: String, _ organization: Organization, _ kek: KeyEncryptionKey) throws -> RowInsert {
        RowInsert(
            """
            INSERT INTO \(table) (occurred_on, address, request_id, details, tag, kind, outcome, actor)
            SELECT added.*, $6, $7, $8 FROM unnest($1, $2, $3, $4, $5) AS added
            """,
            own: [
                .timestamp(microseconds: Int64(microseconds)), .text(address), .text(requestID), .text(details),
                .bytes(try tag(organization, kek)),
            ], shared: [.text(kind), .text(outcome), .text(actor)])
    }
}
