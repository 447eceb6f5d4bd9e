package import CellCrypto
package import Foundation
import JSON
package import Model
package import PostgresClient
import Synchronization

/// A security event that a write inserts into `unchained_event`. It needs no lock of the chain, and is part of the write's
/// transaction.
///
/// The service links it into the chain within seconds (``Session/chainPendingEvents()``). Until then a tag of the KEK shows that
/// the service wrote it.
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
        address = caller.address
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
        // A missing field differs from an empty one.
        let optional = [address, requestID, details].map { text -> [UInt8] in text.map { [1] + Array($0.utf8) } ?? [0] }
        return [organization.id.bytes, Array("\(microseconds)".utf8), Array(kind.utf8), Array(outcome.utf8), Array(actor.utf8)]
            + optional
    }

    func tag(_ organization: Organization, _ kek: KeyEncryptionKey) throws -> [UInt8] {
        try kek.tag(label: Self.label, over: fields(organization))
    }

    /// Whether the service wrote the event with this tag.
    func isAuthentic(by tag: [UInt8], _ organization: Organization, _ kek: KeyEncryptionKey) throws -> Bool {
        try kek.accepts(tag, label: Self.label, over: fields(organization))
    }

    /// The event's hash for an id and the hash before it.
    func hash(id: Int, after previous: [UInt8]?) throws -> [UInt8] {
        try EventHash.of(
            [
                .integer(Int64(id)), .integer(Int64(microseconds)), .string(kind), .string(outcome), .string(actor), .text(address),
                .text(requestID), .null, .null, .text(details),
            ], after: previous)
    }

    /// The details that the chain records for an event that the service did not write. `chain_events` builds the same text.
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

/// The events of the passwords that one write sets, replaces or clears.
package struct PasswordEvents: Sendable {
    /// One password.
    private struct Change {
        /// The column that says whether the password was set before; nil for a new record.
        let flag: String?
        let isCleared: Bool
        /// The events for a password that was not set before, and for one that was.
        let set: PendingEvent
        let replaced: PendingEvent
    }

    private let organization: Organization
    private let kek: KeyEncryptionKey
    private let changes: [Change]

    /// - Parameter secrets: New values by attribute; nil clears.
    package init(_ entity: EntityDefinition, _ id: UUID, _ secrets: [String: String?], in session: Session) {
        organization = session.organization
        kek = session.kek
        let now = Date()
        changes = secrets.sorted { $0.key < $1.key }.map { attribute, value in
            let details = "\(entity.logicalName)(\(id.text)).\(attribute)"
            return Change(
                flag: entity.setFlags[attribute], isCleared: value == nil,
                set: PendingEvent(.passwordSet, details: details, by: session.caller, at: now),
                replaced: PendingEvent(
                    value == nil ? .passwordCleared : .passwordReplaced, details: details, by: session.caller, at: now))
        }
    }

    /// Whether the write touches no password.
    package var isEmpty: Bool { changes.isEmpty }

    /// The columns that say which of the passwords are set.
    package var flags: [String] { changes.compactMap(\.flag) }

    private static let columns = "(occurred_on, kind, outcome, actor, address, request_id, details, tag)"

    /// Inserts the events of a new record.
    package func insertion() throws -> (sql: String, parameters: [PostgresParameter]) {
        var parameters: [PostgresParameter] = []
        let rows = try changes.map { try $0.set.row(organization, kek, &parameters) }
        return (
            "INSERT INTO \(organization.qualified("unchained_event")) \(Self.columns) VALUES \(rows.joined(separator: ", "))",
            parameters
        )
    }

    /// Inserts the event of one replaced password.
    package static func replacement(_ event: PendingEvent, _ organization: Organization, _ kek: KeyEncryptionKey) throws -> (
        sql: String, parameters: [PostgresParameter]
    ) {
        var parameters: [PostgresParameter] = []
        let row = try event.row(organization, kek, &parameters)
        return ("INSERT INTO \(organization.qualified("unchained_event")) \(columns) VALUES \(row)", parameters)
    }

    /// The part of an update's statement that inserts the events.
    ///
    /// - Parameters:
    ///   - updated: The name of the updated row. It has the earlier values of ``flags``, with the prefix `was_`.
    ///   - parameters: The statement's parameters, to which this adds.
    package func insertion(of updated: String, _ parameters: inout [PostgresParameter]) throws -> String {
        let rows = try changes.map { change in
            let wasSet = change.flag.map { quoteIdentifier("was_\($0)") } ?? "false"
            let replaced = try change.replaced.row(organization, kek, &parameters)
            let ifReplaced = "SELECT v.* FROM \(updated), (VALUES \(replaced)) AS v WHERE \(wasSet)"
            if change.isCleared { return ifReplaced }
            let set = try change.set.row(organization, kek, &parameters)
            return "\(ifReplaced) UNION ALL SELECT v.* FROM \(updated), (VALUES \(set)) AS v WHERE NOT \(wasSet)"
        }
        return "INSERT INTO \(organization.qualified("unchained_event")) \(Self.columns) \(rows.joined(separator: " UNION ALL "))"
    }
}

extension PendingEvent {
    /// The event and its tag as a row of VALUES.
    fileprivate func row(_ organization: Organization, _ kek: KeyEncryptionKey, _ parameters: inout [PostgresParameter]) throws
        -> String
    {
        let first = parameters.count + 1
        parameters += [
            .timestamp(microseconds: Int64(microseconds)), .text(kind), .text(outcome), .text(actor), .text(address),
            .text(requestID), .text(details), .bytes(try tag(organization, kek)),
        ]
        return "(\((first..<first + 8).map { "$\($0)" }.joined(separator: ", ")))"
    }
}

/// Organizations with new events to be linked into the chain.
package final class PendingEventList: Sendable {
    private let names = Mutex<Set<String>>([])

    /// Remembers that the organization has events to link.
    package func note(_ organization: Organization) { names.withLock { _ = $0.insert(organization.name) } }

    /// The names that were added since the last call.
    func take() -> Set<String> {
        names.withLock { names in
            defer { names = [] }
            return names
        }
    }
}
