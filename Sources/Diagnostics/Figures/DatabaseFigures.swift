import Foundation
import Model
import Organizations
import PostgresClient
import Records
import Synchronization
import Tenancy

/// The metrics of one database: keys, events, queues. The database is queried at most once in ten seconds.
///
/// One statement reads the figures of all organizations from `config`. Figures in the organizations' own schemas are read for
/// ``visitLimit`` organizations at a time, first for organizations with recent writes. All other organizations keep their last
/// figures.
final class DatabaseFigures: Sendable {
    /// The figures of an organization in `config`.
    struct Entry: Sendable {
        let name: String
        let keyVersion: Int
        let keyChangedOn: Date
        let isKeyThere: Bool
        let events: Int
        /// Events that the external receiver has not acknowledged; 0 if no receiver ever acknowledged one.
        let unsentEvents: Int
    }

    /// The figures in an organization's schema.
    struct Content: Sendable {
        let pendingEvents: Int
        let waitingEmails: Int
        /// Active mailboxes for which the last turn of a router, or the last test, failed.
        let failingMailboxes: Int
        let cells: Int
        /// When the key was last shown, when an event that SQL had inserted was last refused, and when an event was last lost.
        /// Nil for never.
        let keyShownOn: Date?
        let eventRefusedOn: Date?
        let eventLostOn: Date?
    }

    struct Reading: Sendable {
        var organizations: [Entry] = []
        /// The figures of each visited organization, by its name.
        var contents: [String: Content] = [:]
        var servers = 0
        var isReachable = false
        fileprivate var on = ContinuousClock.now
        /// How long the figures are reused.
        fileprivate var lifetime = DatabaseFigures.lifetime
    }

    let deployment: Deployment
    private let last = Mutex<Reading?>(nil)
    /// The name after which the next reading continues to visit organizations, in alphabetical order.
    private let cursor = Mutex("")
    private let reads = SingleFlight<Bool, Reading>()

    private static let lifetime = Duration.seconds(10)
    /// How many organizations' schemas one reading visits at most.
    private static let visitLimit = 100

    init(_ deployment: Deployment) { self.deployment = deployment }

    /// The figures. If the last ones are too old, new figures are read.
    func reading() async -> Reading {
        if let last = last.withLock({ $0 }), .now - last.on < last.lifetime { return last }
        let reading = try? await reads.value(of: true) { [self] in
            let reading = (try? await read()) ?? Reading()
            last.withLock { $0 = reading }
            return reading
        }
        return (reading ?? nil) ?? Reading()
    }

    private func read() async throws -> Reading {
        let known = last.withLock { $0?.contents ?? [:] }
        return try await deployment.pool.withConnection { [self] connection in
            let start = ContinuousClock.now
            var reading = Reading()
            reading.organizations = try Self.entries(on: connection)
            let names = reading.organizations.map(\.name)
            for name in names { reading.contents[name] = known[name] }
            let visited = try Self.next(of: names, after: cursor.withLock { $0 }, on: connection)
            for name in visited.names {
                // An organization that is damaged or not migrated has no figures. The doctor reports it.
                reading.contents[name] = (try? Self.content(name, on: connection)) ?? nil
            }
            cursor.withLock { $0 = visited.last }
            reading.servers = try ServerPresence.running(on: connection).count
            reading.isReachable = true
            reading.on = .now
            // Keeps the figures for 20 times as long as reading them took, so that queries occupy a connection for at most a
            // twentieth of the time.
            reading.lifetime = max(Self.lifetime, (.now - start) * 20)
            return reading
        }
    }

    /// The organizations to visit next: at most half of them are chosen for recent writes, and the rest follow in alphabetical
    /// order.
    ///
    /// - Parameter names: All names, in alphabetical order.
    private static func next(
        of names: [String], after last: String, on connection: isolated PostgresConnection
    ) throws -> (names: Set<String>, last: String) {
        guard names.count > visitLimit else { return (Set(names), "") }
        let busy = try connection.query(
            "SELECT o.name FROM config.sweep JOIN config.organization AS o USING (organization_id) ORDER BY swept_on DESC LIMIT $1",
            [.int64(Int64(visitLimit / 2))]
        ).map { try $0.decode(0, as: String.self) }
        let rest = names.filter { $0 > last }.prefix(visitLimit - busy.count)
        return (Set(busy + rest), rest.count < visitLimit - busy.count ? "" : rest.last ?? "")
    }

    private static func entries(on connection: isolated PostgresConnection) throws -> [Entry] {
        try connection.query(
            """
            SELECT o.name, a.key_version, coalesce(k.created_on, o.created_on), k.wrapped_data IS NOT NULL, a.events,
                   CASE WHEN EXISTS (SELECT FROM config.event_shipment) THEN a.newest_event - \(EventShipment.position) ELSE 0 END
              FROM config.organization AS o JOIN config.attested_state AS a USING (organization_id)
              LEFT JOIN config.event_shipment AS s USING (organization_id)
              LEFT JOIN config.organization_key AS k
                ON (k.organization_id, k.key_version, k.fingerprint) = (a.organization_id, a.key_version, a.fingerprint)
             WHERE NOT EXISTS (SELECT FROM config.organization_move AS m WHERE m.organization_id = o.organization_id)
             ORDER BY o.name COLLATE "C"
            """
        ).map { row in
            Entry(
                name: try row.decode(0), keyVersion: try row.decode(1), keyChangedOn: try row.decode(2),
                isKeyThere: try row.decode(3), events: try row.decode(4), unsentEvents: try row.decode(5))
        }
    }

    private static func content(_ name: String, on connection: isolated PostgresConnection) throws -> Content? {
        let schema = quoteIdentifier(Organization.schema(of: name))
        return try connection.query(
            """
            SELECT (SELECT count(*) FROM \(schema).unchained_event),
                   (SELECT count(*) FROM \(schema).email WHERE statuscode IN \(EmailStatus.outbound.sql)),
                   (SELECT coalesce(sum(greatest(c.reltuples, 0) * (1 - coalesce((\(nullFraction)), 0))), 0)::bigint
                      FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.atttypid = 'bytea'::regtype
                     WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND c.relkind = 'r'
                       AND c.relname LIKE '%\\_cell\\_k' || e.key_version),
                   (SELECT count(*) FROM \(schema).mailbox
                     WHERE statecode = \(RecordState.active.sql) AND lastsyncerror IS NOT NULL),
                   \(newest(.keyRead, in: schema)), \(newest(.eventRefused, in: schema)), \(newest(.eventLost, in: schema))
              FROM \(schema).encryption AS e
            """, [.text(schema), .text(Organization.schema(of: name))]
        ).first.map { row in
            Content(
                pendingEvents: try row.decode(0), waitingEmails: try row.decode(1), failingMailboxes: try row.decode(3),
                cells: try row.decode(2), keyShownOn: try row.decodeIfPresent(4), eventRefusedOn: try row.decodeIfPresent(5),
                eventLostOn: try row.decodeIfPresent(6))
        }
    }

    /// SQL for the fraction of a column's values that are NULL. This is a subquery for one column, because a join would read the
    /// statistics of all organizations.
    private static let nullFraction =
        "SELECT max(s.null_frac) FROM pg_stats AS s WHERE (s.schemaname, s.tablename, s.attname) = ($2::name, c.relname, a.attname)"

    /// An SQL expression for the time of the newest event of a kind. For reads of the key, only successful ones count.
    private static func newest(_ kind: SecurityEvent.Kind, in schema: String) -> String {
        let outcome = kind == .keyRead ? " AND outcome = '\(SecurityEvent.Outcome.succeeded.rawValue)'" : ""
        return """
            (SELECT occurred_on FROM \(schema).security_event
              WHERE \(EventsOfKind.condition("'\(kind.rawValue)'"))\(outcome) \(EventsOfKind.newestFirst) LIMIT 1)
            """
    }
}
