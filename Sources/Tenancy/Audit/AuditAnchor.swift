import CellCrypto
import JSON
import PostgresClient

/// The range of the audit's blocks that a security event records: the newest block, and the first that is not archived. So the
/// event chain also protects the audit.
package struct AuditAnchor: Sendable, Equatable {
    /// The newest block, and its digest.
    package let last: Int
    package let digest: [UInt8]
    /// The first block that is not archived, and the digest of the block before it (nil if it is the organization's first block).
    package let first: Int
    package let before: [UInt8]?
    /// Which transactions had ended at the last sealing (see ``AuditSnapshot``). Set only if all blocks are archived.
    package let snapshot: String?

    package init(last: Int, digest: [UInt8], first: Int, before: [UInt8]?, snapshot: String? = nil) {
        self.last = last
        self.digest = digest
        self.first = first
        self.before = before
        self.snapshot = snapshot
    }

    /// The anchor as text, which ends the event's details.
    package var text: String {
        (snapshot.map { "transactions \($0); " } ?? "")
            + "sealed up to block \(last) (SHA-256 \(hexadecimal(digest))), kept from block \(first)"
            + (before.map { " (SHA-256 \(hexadecimal($0)) before it)" } ?? "")
    }

    /// - Parameter details: The details of an event.
    init?(_ details: String) {
        let sealed =
            /(?:transactions ([-0-9:, ]+); )?sealed up to block ([0-9]{1,18}) \(SHA-256 ([0-9a-f]{64})\), kept from block ([0-9]{1,18})/
        let end = /(?: \(SHA-256 ([0-9a-f]{64}) before it\))?$/
        guard let found = details.firstMatch(of: sealed), let rest = details[found.range.upperBound...].wholeMatch(of: end),
            let last = Int(found.2), let first = Int(found.4), let digest = bytes(hexadecimal: String(found.3))
        else { return nil }
        self.init(
            last: last, digest: digest, first: first, before: rest.1.flatMap { bytes(hexadecimal: String($0)) },
            snapshot: found.1.map(String.init))
    }

    /// The kinds of events that record an anchor, and an SQL pattern for their details.
    static let kinds: [SecurityEvent.Kind] = [.auditSealed, .eventsArchived]
    static let pattern = "%sealed up to block %"

    /// The newest event that records an anchor; nil while nothing was sealed. This event is not verified here: ``AttestedAnchor``
    /// verifies it.
    static func newestEvent(
        of organization: Organization, on connection: isolated PostgresConnection
    ) throws -> RecordedEvent? {
        try connection.query(
            "SELECT \(RecordedEvent.columns) FROM \(EventsOfKind.newest(of: kinds, details: pattern, in: organization)) AS e"
        ).first.map { try RecordedEvent($0) }
    }
}
