import CellCrypto
import Foundation
package import MetricsFormat
import PostgresClient
import Synchronization
package import Tenancy

/// The metrics of a deployment: of each database, and of the organizations with the most notable values. The size of the metrics
/// does not grow with the number of organizations.
package final class DeploymentFigures: Sendable {
    /// One organization in one reading.
    private struct Line {
        let entry: DatabaseFigures.Entry
        let content: DatabaseFigures.Content?
    }

    /// The figures of each database by its name. If there is only one database, its name here is empty.
    private let databases = Mutex<[String: DatabaseFigures]>([:])
    /// The names of all databases, including databases that were not reached yet; nil if there is only one database.
    private let names: [String]?

    /// How many organizations each figure shows: those with the most notable values.
    private static let shown = 100

    /// - Parameter names: The names of all databases; nil if there is only one.
    package init(databases names: [String]? = nil) { self.names = names }

    /// Adds a database that was reached.
    package func add(_ name: String, _ deployment: Deployment) {
        databases.withLock { $0[names == nil ? "" : name] = DatabaseFigures(deployment) }
    }

    /// Adds the metrics. For a database that does not respond, the metrics say only that.
    package func write(to text: inout MetricsText) async {
        SecurityEventFigures.shared.write(to: &text)
        let databases = databases.withLock(\.self).sorted { $0.key < $1.key }
        writePools(of: databases, to: &text)
        writeRefusals(by: databases, to: &text)
        let readings = await withTaskGroup(of: (String, DatabaseFigures.Reading).self) { group in
            for (name, figures) in databases { group.addTask { (name, await figures.reading()) } }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        text.gauge(
            "fieldseal_database_reachable", "1 if the database responded when these figures were read.",
            (names ?? [""]).map { sample($0, readings[$0]?.isReachable == true ? 1 : 0) })
        let reached = readings.filter(\.value.isReachable).sorted { $0.key < $1.key }
        guard !reached.isEmpty else { return }
        text.gauge(
            "fieldseal_servers", "Running servers of the deployment.", reached.map { sample($0.key, Double($0.value.servers)) })
        writeTotals(of: reached.map { ($0.key, $0.value) }, to: &text)
        let lines = reached.flatMap { _, reading in
            reading.organizations.map { Line(entry: $0, content: reading.contents[$0.name]) }
        }
        writeKeys(of: lines, to: &text)
        writeContents(of: lines, to: &text)
    }

    private func sample(_ database: String, _ value: Double) -> MetricsText.Sample {
        names == nil ? .init([:], value) : .init(["database": database], value)
    }

    private func writePools(of databases: [(key: String, value: DatabaseFigures)], to text: inout MetricsText) {
        let loads = databases.map { ($0.key, $0.value.deployment.pool.load) }
        text.gauge(
            "fieldseal_database_connections", "Connections of the pool to PostgreSQL.",
            loads.flatMap { name, load -> [MetricsText.Sample] in
                let (idle, busy) = (Double(load.idle), Double(load.open - load.idle))
                return names == nil
                    ? [.init(["state": "idle"], idle), .init(["state": "in use"], busy)]
                    : [.init(["database": name, "state": "idle"], idle), .init(["database": name, "state": "in use"], busy)]
            })
        text.gauge(
            "fieldseal_database_waiting", "Callers that wait for a connection.", loads.map { sample($0.0, Double($0.1.waiting)) })
        let standbys = databases.compactMap { name, figures in figures.deployment.standby.map { (name, $0.figures) } }
        if !standbys.isEmpty {
            text.gauge(
                "fieldseal_standby_up", "1 if the standby responds and belongs to this database, else 0.",
                standbys.map { sample($0.0, $0.1.isThere ? 1 : 0) })
            text.counter(
                "fieldseal_lists", "Lists that the standby ran, and lists that ran on the primary instead.",
                standbys.flatMap { name, figures in
                    [("standby", figures.counts.served), ("primary", figures.counts.left)].map { server, count in
                        names == nil
                            ? .init(["server": server], Double(count)) : .init(["database": name, "server": server], Double(count))
                    }
                })
        }
        guard !databases.isEmpty else { return }
        text.info(
            "fieldseal_kek", "The key-encryption key in force.",
            each: databases.map { name, figures in
                let id = figures.deployment.kek.id
                return names == nil ? ["kek_id": id] : ["database": name, "kek_id": id]
            })
    }

    /// Adds the organizations that this server refuses, which it knows even while a database does not respond.
    private func writeRefusals(by databases: [(key: String, value: DatabaseFigures)], to text: inout MetricsText) {
        let refused = databases.map { ($0.key, $0.value.deployment.stateRefusals.all.keys) }
        text.gauge(
            "fieldseal_organizations_refused",
            "Organizations that this server refuses, since their attested state does not verify.",
            refused.map { sample($0.0, Double($0.1.count)) })
        let names = refused.flatMap(\.1).sorted().prefix(Self.shown)
        text.gauge(
            "fieldseal_organization_refused", "Whether this server refuses the organization.",
            names.map { .init(["organization": $0], 1) })
    }

    private func writeTotals(of readings: [(String, DatabaseFigures.Reading)], to text: inout MetricsText) {
        // The sums are floating-point numbers, because sums of numbers that SQL wrote may be too large for an integer.
        func total(_ name: String, _ help: String, _ value: (DatabaseFigures.Reading) -> Double) {
            text.gauge("fieldseal_\(name)", help, readings.map { sample($0.0, value($0.1)) })
        }
        let due = Date(timeIntervalSinceNow: -KeyPolicy.keyLifetime)
        total("organizations", "Organizations.") { Double($0.organizations.count) }
        total("organizations_key_missing", "Organizations whose key in force is missing in config.") {
            Double($0.organizations.count { !$0.isKeyThere })
        }
        total("organizations_key_due", "Organizations whose key should be changed.") {
            Double($0.organizations.count { $0.keyChangedOn < due })
        }
        total("events_pending", "Security events of all organizations that wait to be linked into a chain.") {
            $0.contents.values.reduce(0.0) { $0 + Double($1.pendingEvents) }
        }
        total(
            "events_unsent", "Security events of all organizations that the receiver outside of the database has not acknowledged."
        ) {
            $0.organizations.reduce(0.0) { $0 + Double($1.unsentEvents) }
        }
        total("emails_waiting", "E-mails of all organizations that wait to be sent.") {
            $0.contents.values.reduce(0.0) { $0 + Double($1.waitingEmails) }
        }
        total("mailboxes_failing", "Active mailboxes of all organizations whose last fetch, sending or test failed.") {
            $0.contents.values.reduce(0.0) { $0 + Double($1.failingMailboxes) }
        }
        total("cells", "Encrypted values of all organizations, as PostgreSQL estimates them.") {
            $0.contents.values.reduce(0.0) { $0 + Double($1.cells) }
        }
    }

    /// Adds a figure of the organizations whose values come first in the order that `first` defines.
    private func gauge(
        _ name: String, _ help: String, of lines: [Line], to text: inout MetricsText, first: (Double, Double) -> Bool,
        _ value: (Line) -> Double?
    ) {
        let values = lines.compactMap { line in value(line).map { (line.entry.name, $0) } }
        let shown = values.sorted { $0.1 == $1.1 ? $0.0 < $1.0 : first($0.1, $1.1) }.prefix(Self.shown)
        text.gauge("fieldseal_organization_\(name)", help, shown.map { .init(["organization": $0.0], $0.1) })
    }

    private func writeKeys(of lines: [Line], to text: inout MetricsText) {
        gauge("key_version", "The version of the key in force.", of: lines, to: &text, first: >) { Double($0.entry.keyVersion) }
        gauge("key_changed_timestamp_seconds", "When the key was set.", of: lines, to: &text, first: <) {
            $0.entry.keyChangedOn.timeIntervalSince1970
        }
        gauge("key_due_timestamp_seconds", "When the key should be changed.", of: lines, to: &text, first: <) {
            $0.entry.keyChangedOn.timeIntervalSince1970 + KeyPolicy.keyLifetime
        }
        gauge("key_present", "Whether config has the key in force.", of: lines, to: &text, first: <) { $0.entry.isKeyThere ? 1 : 0 }
        gauge("events", "Security events in the chain.", of: lines, to: &text, first: >) { Double($0.entry.events) }
    }

    private func writeContents(of lines: [Line], to text: inout MetricsText) {
        gauge("events_pending", "Security events that wait to be linked into the chain.", of: lines, to: &text, first: >) {
            $0.content.map { Double($0.pendingEvents) }
        }
        gauge("emails_waiting", "E-mails that wait to be sent.", of: lines, to: &text, first: >) {
            $0.content.map { Double($0.waitingEmails) }
        }
        gauge("mailboxes_failing", "Active mailboxes whose last fetch, sending or test failed.", of: lines, to: &text, first: >) {
            $0.content.map { Double($0.failingMailboxes) }
        }
        // This figure is read from the database, because the database also has the events of commands, which no server counts.
        gauge("key_shown_timestamp_seconds", "When the key was last shown.", of: lines, to: &text, first: >) {
            $0.content?.keyShownOn?.timeIntervalSince1970
        }
        gauge(
            "event_refused_timestamp_seconds", "When a security event that SQL had inserted was last refused.", of: lines,
            to: &text,
            first: >
        ) {
            $0.content?.eventRefusedOn?.timeIntervalSince1970
        }
        gauge("event_lost_timestamp_seconds", "When a security event was last lost.", of: lines, to: &text, first: >) {
            $0.content?.eventLostOn?.timeIntervalSince1970
        }
        gauge("cells", "Encrypted values, as PostgreSQL estimates them.", of: lines, to: &text, first: >) {
            $0.content.map { Double($0.cells) }
        }
    }
}
