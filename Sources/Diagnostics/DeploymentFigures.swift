import CellCrypto
import Foundation
public import MetricsFormat
import Organizations
import PostgresClient
import Synchronization
public import Tenancy

/// What the database says of a deployment, for metrics: keys, events, queues. It is asked once in ten seconds at most.
public final class DeploymentFigures: Sendable {
    /// One organization.
    private struct Entry: Sendable {
        let name: String
        let keyVersion: Int
        let keyChangedOn: Date
        let isKeyThere: Bool
        let events: Int
        let pendingEvents: Int
        let waitingEmails: Int
        let cells: Int
    }

    private struct Reading: Sendable {
        var organizations: [Entry] = []
        var servers = 0
        var isReachable = false
        var on = ContinuousClock.now
        /// How long the figures are good for.
        var lifetime = DeploymentFigures.lifetime
    }

    private let deployment: Deployment
    private let last = Mutex<Reading?>(nil)
    private let reads = SingleFlight<Bool, Reading>()

    private static let lifetime = Duration.seconds(10)
    /// Seconds after which a key is due, as the doctor has it.
    private static let keyLifetime = 365 * 86_400.0

    public init(_ deployment: Deployment) { self.deployment = deployment }

    /// Adds the metrics. Where the database can't be asked, only that is said.
    public func write(to text: inout MetricsText) async {
        SecurityEventFigures.shared.write(to: &text)
        let load = deployment.pool.load
        text.gauge(
            "fieldseal_database_connections", "Connections of the pool to PostgreSQL.",
            [.init(["state": "idle"], Double(load.idle)), .init(["state": "in use"], Double(load.open - load.idle))])
        text.gauge("fieldseal_database_waiting", "Callers that wait for a connection.", [.init([:], Double(load.waiting))])
        text.info("fieldseal_kek", "The key-encryption key in force.", ["kek_id": deployment.kek.id])
        let reading = await reading()
        text.gauge(
            "fieldseal_database_reachable", "Whether the database answered when it was asked for these figures.",
            [.init([:], reading.isReachable ? 1 : 0)])
        guard reading.isReachable else { return }
        text.gauge("fieldseal_servers", "Servers of the deployment that run.", [.init([:], Double(reading.servers))])
        func gauge(_ name: String, _ help: String, _ value: (Entry) -> Double) {
            text.gauge(
                "fieldseal_organization_\(name)", help, reading.organizations.map { .init(["organization": $0.name], value($0)) })
        }
        gauge("key_version", "The version of the key in force.") { Double($0.keyVersion) }
        gauge("key_changed_timestamp_seconds", "When the key was set.") { $0.keyChangedOn.timeIntervalSince1970 }
        gauge("key_due_timestamp_seconds", "When the key should be changed.") {
            $0.keyChangedOn.timeIntervalSince1970 + Self.keyLifetime
        }
        gauge("key_present", "Whether config has the key in force.") { $0.isKeyThere ? 1 : 0 }
        gauge("events", "Security events in the chain.") { Double($0.events) }
        gauge("events_pending", "Security events that wait to be linked into the chain.") { Double($0.pendingEvents) }
        gauge("emails_waiting", "E-mails that wait to be sent.") { Double($0.waitingEmails) }
        gauge("cells", "Encrypted values, as PostgreSQL estimates them.") { Double($0.cells) }
    }

    private func reading() async -> Reading {
        if let last = last.withLock({ $0 }), .now - last.on < last.lifetime { return last }
        let reading = try? await reads.value(of: true) { [self] in
            let reading = (try? await read()) ?? Reading()
            last.withLock { $0 = reading }
            return reading
        }
        return (reading ?? nil) ?? Reading()
    }

    private func read() async throws -> Reading {
        try await deployment.pool.withConnection { connection in
            let start = ContinuousClock.now
            var reading = Reading()
            let names = try connection.query("SELECT name FROM config.organization ORDER BY name").map {
                try $0.decode(0, as: String.self)
            }
            for name in names {
                // One that is damaged or not migrated has no figures; the doctor says more.
                guard let entry = try? Self.read(name, on: connection) else { continue }
                reading.organizations.append(entry)
            }
            reading.servers = try ServerPresence.running(on: connection).count
            reading.isReachable = true
            reading.on = .now
            // Where there are many organizations, their figures take a twentieth of a connection's time at most.
            reading.lifetime = max(Self.lifetime, (.now - start) * 20)
            return reading
        }
    }

    private static func read(_ name: String, on connection: isolated PostgresConnection) throws -> Entry? {
        let schema = quoteIdentifier(Organization.schema(of: name))
        return try connection.query(
            """
            SELECT e.key_version, e.changed_on, k.wrapped_data IS NOT NULL, coalesce(a.events, 0),
                   (SELECT count(*) FROM \(schema).unchained_event),
                   (SELECT count(*) FROM \(schema).email WHERE statuscode IN (6, 7)),
                   (SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM pg_class AS c
                     WHERE c.relnamespace = o.schema_name::regnamespace AND c.relkind = 'r'
                       AND c.relname LIKE '%\\_cell\\_k' || e.key_version)
              FROM config.organization AS o
              JOIN \(schema).encryption AS e USING (organization_id)
              LEFT JOIN config.attested_state AS a USING (organization_id)
              LEFT JOIN config.organization_key AS k
                ON (k.organization_id, k.key_version, k.fingerprint) = (o.organization_id, e.key_version, e.fingerprint)
             WHERE o.name = $1
            """, [.text(name)]
        ).first.map { row in
            Entry(
                name: name, keyVersion: try row.decode(0), keyChangedOn: try row.decode(1), isKeyThere: try row.decode(2),
                events: try row.decode(3), pendingEvents: try row.decode(4), waitingEmails: try row.decode(5),
                cells: try row.decode(6))
        }
    }
}
