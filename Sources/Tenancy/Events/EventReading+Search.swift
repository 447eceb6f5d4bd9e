package import Foundation
import JSON
import PostgresClient

extension EventReading {
    /// How many of the newest events are read in a search for an actor, details or an outcome.
    private static let searchedEvents = 200_000
    private static let idPattern = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

    /// The newest security events that match a filter, the newest first.
    ///
    /// - Parameter limit: How many events are returned at most.
    package func events(_ filter: EventFilter, limit: Int) async throws -> [RecordedEvent] {
        await session.linkPendingEvents()
        var parameters: [PostgresParameter] = []
        func bind(_ parameter: PostgresParameter) -> String {
            parameters.append(parameter)
            return "$\(parameters.count)"
        }
        let table = organization.qualified("security_event")
        var conditions: [String] = []
        if let outcome = filter.outcome { conditions.append("outcome = \(bind(.text(outcome)))") }
        if let actor = filter.actor { conditions.append("actor = \(bind(.text(actor)))") }
        if let details = filter.details {
            // PostgreSQL converts ASCII letters to lower case much faster than other letters, and few search texts have others.
            let isPlain = details.utf8.allSatisfy { $0 < 0x80 }
            let lowered = isPlain ? "lower(details COLLATE \"C\")" : "lower(details)"
            let holdsText = "position(lower(\(bind(.text(details)))) in \(lowered)) > 0"
            // The first id in an event's details is the id of the record that the event is about.
            let isAbout = "substring(details from '\(Self.idPattern)') = ANY(\(bind(.texts(filter.records.map(\.text)))))"
            // The details of events about members and roles name several records.
            let names =
                "kind = ANY(\(bind(.texts(SecurityEvent.Kind.ofLinks.map(\.rawValue))))) AND EXISTS (SELECT FROM regexp_matches(details, "
                + "'\(Self.idPattern)', 'g') AS named (ids) WHERE ids[1] = ANY(\(bind(.texts(filter.records.map(\.text))))))"
            conditions.append(filter.records.isEmpty ? holdsText : "(\(holdsText) OR \(isAbout) OR \(names))")
        }
        if let from = filter.from { conditions.append("occurred_on >= \(bind(.timestamp(from)))") }
        if let until = filter.until { conditions.append("occurred_on < \(bind(.timestamp(until)))") }
        let before = filter.before.map { bind(.int64(Int64($0))) }
        var above: String?
        if filter.isSearch {
            let newest = "(SELECT max(security_event_id) FROM \(table))"
            above = "\(before.map { "least(\(newest), \($0))" } ?? newest) - \(Self.searchedEvents)"
        }
        let count = bind(.int64(Int64(limit)))
        let sql: String
        if filter.kinds.isEmpty {
            if let before { conditions.append("security_event_id < \(before)") }
            if let above { conditions.append("security_event_id > \(above)") }
            let condition = conditions.isEmpty ? "true" : conditions.joined(separator: " AND ")
            sql = "SELECT \(RecordedEvent.columns) FROM \(table) WHERE \(condition) ORDER BY security_event_id DESC LIMIT \(count)"
        } else {
            // The index on kind and id finds the newest events of a rare kind without reading events of other kinds.
            let kinds = bind(.texts(filter.kinds))
            sql = """
                SELECT \(RecordedEvent.columns) FROM unnest(\(kinds)::text[]) AS wanted (wanted_kind) CROSS JOIN LATERAL (
                    SELECT * FROM \(table) WHERE \(([EventsOfKind.condition("wanted_kind", above, before)] + conditions).joined(separator: " AND "))
                     \(EventsOfKind.newestFirst) LIMIT \(count)) AS found
                 ORDER BY security_event_id DESC LIMIT \(count)
                """
        }
        let bound = parameters
        return try await deployment.pool.withConnection { connection in
            try connection.query(sql, bound).map { try RecordedEvent($0) }
        }
    }

    /// The position at which the next part of a limited search begins.
    ///
    /// - Returns: Nil when there are no older events, or if the filter is not limited to the newest events.
    package func continuation(of filter: EventFilter) async throws -> Int? {
        guard filter.isSearch else { return nil }
        return try await deployment.pool.withConnection { connection in
            let row = try connection.query(
                "SELECT least(max(security_event_id), $1), min(security_event_id) FROM \(organization.qualified("security_event"))",
                [.int64(Int64(filter.before ?? Int(Int64.max)))])[0]
            guard let newest: Int = try row.decodeIfPresent(0), let oldest: Int = try row.decodeIfPresent(1) else { return nil }
            let end = newest - Self.searchedEvents
            return end >= oldest ? end + 1 : nil
        }
    }

    /// How many of the newest sign-ins are read.
    private static let searchedSignIns = 5_000

    /// The last sign-ins of people and clients by actor, among the newest ``searchedSignIns``, and the time since which all
    /// sign-ins were read.
    package func lastSignIns() async throws -> (last: [String: Date], since: Date) {
        try await deployment.pool.withConnection { connection in
            let rows = try connection.query(
                """
                SELECT actor, max(occurred_on), min(min(occurred_on)) OVER (), (sum(count(*)) OVER ())::bigint FROM (
                    SELECT actor, occurred_on FROM \(organization.qualified("security_event"))
                     WHERE \(EventsOfKind.condition("$1")) AND outcome = 'succeeded' \(EventsOfKind.newestFirst) LIMIT $2) AS newest
                 GROUP BY actor
                """, [.text(SecurityEvent.Kind.signedIn.rawValue), .int64(Int64(Self.searchedSignIns))])
            let last = try rows.reduce(into: [:]) { $0[try $1.decode(0, as: String.self)] = try $1.decode(1, as: Date.self) }
            if let row = rows.first, try row.decode(3, as: Int.self) >= Self.searchedSignIns { return (last, try row.decode(2)) }
            // All sign-ins were read, except archived ones.
            let archived = try connection.query(
                "SELECT last_occurred_on FROM config.event_archive WHERE organization_id = $1", [.uuid(organization.id)])
            return (last, try archived.first?.decode(0, as: Date.self) ?? .distantPast)
        }
    }
}
