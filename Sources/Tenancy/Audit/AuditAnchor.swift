import CellCrypto
import JSON
import PostgresClient

/// What a security event says of the blocks of the audit: the newest one, and the first that was not archived. So the chain of events
/// covers them.
package struct AuditAnchor: Sendable, Equatable {
    /// The newest block, and its digest.
    package let last: Int
    package let digest: [UInt8]
    /// The first block that is in the database, and the digest of the one before it; nil for an organization's first.
    package let first: Int
    package let before: [UInt8]?
    /// The transactions that had ended when the audit was sealed last, if all blocks were archived; see ``AuditSnapshot``.
    package let snapshot: String?

    package init(last: Int, digest: [UInt8], first: Int, before: [UInt8]?, snapshot: String? = nil) {
        self.last = last
        self.digest = digest
        self.first = first
        self.before = before
        self.snapshot = snapshot
    }

    /// The end of the event's details.
    package var text: String {
        (snapshot.map { "transactions \($0); " } ?? "")
            + "sealed up to block \(last) (SHA-256 \(hexadecimal(digest))), kept from block \(first)"
            + (before.map { " (SHA-256 \(hexadecimal($0)) before it)" } ?? "")
    }

    /// - Parameter details: Those of an event.
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

    /// The kinds of events that say it, and what their details are like.
    static let kinds: [SecurityEvent.Kind] = [.auditSealed, .eventsArchived]
    static let pattern = "%sealed up to block %"

    /// The newest event that says it; nil while nothing was sealed. Whether it is one of the chain, ``AttestedAnchor`` tells.
    static func newestEvent(
        of organization: Organization, on connection: isolated PostgresConnection
    ) throws -> RecordedEvent? {
        try connection.query(
            "SELECT \(RecordedEvent.columns) FROM \(EventsOfKind.newest(of: kinds, details: pattern, in: organization)) AS e"
        ).first.map { try RecordedEvent($0) }
    }
}
