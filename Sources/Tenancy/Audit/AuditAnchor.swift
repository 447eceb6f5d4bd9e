package import CellCrypto
import JSON
package import PostgresClient

/// What a security event says of the blocks of the audit: the newest one, and the first that was not archived. So the chain of events
/// covers them.
package struct AuditAnchor: Sendable, Equatable {
    /// The newest block, and its digest.
    package let last: Int
    package let digest: [UInt8]
    /// The first block that is in the database, and the digest of the one before it; nil for an organization's first.
    package let first: Int
    package let before: [UInt8]?

    package init(last: Int, digest: [UInt8], first: Int, before: [UInt8]?) {
        self.last = last
        self.digest = digest
        self.first = first
        self.before = before
    }

    /// The end of the event's details.
    package var text: String {
        "sealed up to block \(last) (SHA-256 \(hexadecimal(digest))), kept from block \(first)"
            + (before.map { " (SHA-256 \(hexadecimal($0)) before it)" } ?? "")
    }

    /// - Parameter details: Those of an event.
    init?(_ details: String) {
        let sealed = /sealed up to block ([0-9]{1,18}) \(SHA-256 ([0-9a-f]{64})\), kept from block ([0-9]{1,18})/
        let end = /(?: \(SHA-256 ([0-9a-f]{64}) before it\))?$/
        guard let found = details.firstMatch(of: sealed), let rest = details[found.range.upperBound...].wholeMatch(of: end),
            let last = Int(found.1), let first = Int(found.3), let digest = bytes(hexadecimal: String(found.2))
        else { return nil }
        self.init(last: last, digest: digest, first: first, before: rest.1.flatMap { bytes(hexadecimal: String($0)) })
    }

    /// What the newest event that says it says; nil while nothing was sealed.
    package static func newest(
        of organization: Organization, on connection: isolated PostgresConnection
    ) throws -> AuditAnchor? {
        func newest(_ kind: SecurityEvent.Kind) -> String {
            """
            (SELECT security_event_id, details FROM \(organization.qualified("security_event"))
              WHERE \(EventsOfKind.condition("'\(kind.rawValue)'")) AND details LIKE '%sealed up to block %'
              \(EventsOfKind.newestFirst) LIMIT 1)
            """
        }
        let rows = try connection.query(
            """
            SELECT details FROM (\(newest(.auditSealed)) UNION ALL \(newest(.eventsArchived))) AS e
             ORDER BY security_event_id DESC LIMIT 1
            """)
        return try rows.first.flatMap { AuditAnchor(try $0.decode(0)) }
    }
}
