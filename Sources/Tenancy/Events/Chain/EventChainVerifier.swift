package import CellCrypto
package import PostgresClient

/// Verifies an organization's chain of security events.
///
/// PostgreSQL computes the hashes of a range of events at a time, by an expression that this program sends. A function in the
/// database would not be reliable, because the database owner could replace it.
package struct EventChainVerifier {
    package let organization: Organization
    package let kek: KeyEncryptionKey

    package init(organization: Organization, kek: KeyEncryptionKey) {
        self.organization = organization
        self.kek = kek
    }

    /// How many events one range has, so that memory stays bounded.
    private static let rangeLength = 20_000
    /// How many broken links are listed at most.
    private static let problemLimit = 100

    private var table: String { organization.qualified("security_event") }

    /// Verifies the chain in one snapshot. If there is no problem, the checkpoint moves to the last verified event.
    package func verify(_ extent: EventChainExtent, on connection: isolated PostgresConnection) throws -> EventChainReport {
        var report = EventChainReport()
        let verified = try connection.transaction(isolation: .repeatableRead) {
            try verify(extent, &report, on: connection)
        }
        if let verified, report.problems.isEmpty {
            do {
                let state = try AttestedState.verified(organization, under: kek, on: connection)
                try verified.write(organization, under: kek.member(state.kekID) ?? kek, on: connection)
            } catch let error as PostgresError where error.state == .readOnlyTransaction {
                // A standby can't store the checkpoint. On a standby, the next verification begins at the same event.
            }
        }
        return report
    }

    /// - Returns: The last event that was verified; nil if no event after the start was verified.
    private func verify(
        _ extent: EventChainExtent, _ report: inout EventChainReport, on connection: isolated PostgresConnection
    ) throws -> EventCheckpoint? {
        let attested = try collect(&report) { try AttestedState.verified(organization, under: kek, on: connection) }
        let newest = try newest(on: connection)
        if let attested { report.problems += Self.end(attested, newest) }
        let archived = try collect(&report) { try EventArchivePosition.read(organization, under: kek, on: connection) } ?? nil
        let beginning = EventCheckpoint(lastID: archived?.lastID ?? 0, head: archived?.head ?? [])
        let early = try connection.query(
            "SELECT count(*) FROM \(table) WHERE security_event_id <= $1", [.int64(Int64(beginning.lastID))])[0]
        let count: Int = try early.decode(0)
        if count > 0 {
            report.problems.append(
                archived == nil
                    ? "\(count) events have a number below 1, which this service never gives: SQL wrote them"
                    : "\(count) events up to number \(beginning.lastID), which were archived, were written again by SQL")
        }
        var start = beginning
        var limit = Int.max
        switch extent {
        case .whole: break
        case .recent(let bound):
            limit = bound
            if newest.id - beginning.lastID > bound { start = try checkpoint(after: beginning, &report, on: connection) }
        case .sinceCheckpoint: start = try checkpoint(after: beginning, &report, on: connection)
        }
        let last = try verifyRanges(from: start, limit, &report, on: connection)
        report.reachesEnd = last.lastID >= newest.id
        // The links alone do not show that a shorter chain replaced the whole chain. So the events are counted.
        if start == beginning, report.reachesEnd, let attested {
            let count = report.verified + (archived?.events ?? 0)
            if count < attested.events {
                report.problems.append("\(attested.events - count) of \(attested.events) security events are missing")
            }
            if count > attested.events {
                report.problems.append("\(count - attested.events) security events were written by SQL, and not by the service")
            }
        }
        return last == start || last.head.isEmpty ? nil : last
    }

    /// Runs a check, and reports its failure as a problem.
    private func collect<Value>(_ report: inout EventChainReport, _ body: () throws -> Value) throws -> Value? {
        do {
            return try body()
        } catch let problem as EventChainProblem {
            report.problems.append(problem.description)
        }
        return nil
    }

    private func newest(on connection: isolated PostgresConnection) throws -> (id: Int, hash: [UInt8]) {
        let rows = try connection.query("SELECT security_event_id, hash FROM \(table) ORDER BY security_event_id DESC LIMIT 1")
        return try rows.first.map { (try $0.decode(0), try $0.decode(1, as: PostgresBytes.self).bytes) } ?? (0, [])
    }

    private static func end(_ attested: AttestedState, _ newest: (id: Int, hash: [UInt8])) -> [String] {
        if newest.id < attested.newestEvent {
            return [
                "security events are missing at the end: the newest is number \(newest.id), and this service wrote number \(attested.newestEvent)"
            ]
        }
        if newest.id > attested.newestEvent {
            return [
                "security events after number \(attested.newestEvent) are missing in the attested state: SQL wrote them, or put an older state back"
            ]
        }
        return newest.hash == attested.head
            ? [] : ["the newest security event, number \(newest.id), is not the one that this service wrote"]
    }

    /// The checkpoint if its event is unchanged; otherwise the beginning of the chain.
    private func checkpoint(
        after beginning: EventCheckpoint, _ report: inout EventChainReport, on connection: isolated PostgresConnection
    ) throws -> EventCheckpoint {
        let found = try collect(&report) { try EventCheckpoint.read(organization, under: kek, on: connection) } ?? nil
        guard let found, found.lastID > beginning.lastID else { return beginning }
        let rows = try connection.query("SELECT hash FROM \(table) WHERE security_event_id = $1", [.int64(Int64(found.lastID))])
        guard let hash = try rows.first?.decode(0, as: PostgresBytes.self).bytes, hash == found.head else {
            report.problems.append("\(found.lastID): this event was verified before, and was changed or removed since")
            return beginning
        }
        return found
    }

    private func verifyRanges(
        from start: EventCheckpoint, _ limit: Int, _ report: inout EventChainReport, on connection: isolated PostgresConnection
    ) throws -> EventCheckpoint {
        var last = start
        while report.verified < limit {
            let row = try connection.query(
                """
                SELECT count(*), max(id), array_agg(id ORDER BY id) FILTER (WHERE NOT is_linked), array_agg(id ORDER BY id) FILTER (WHERE NOT is_whole)
                  FROM (SELECT security_event_id AS id, hash = \(EventHash.sql) AS is_whole,
                               previous_hash IS NOT DISTINCT FROM lag(hash, 1, $2) OVER (ORDER BY security_event_id) AS is_linked
                          FROM (SELECT * FROM \(table) WHERE security_event_id > $1 ORDER BY security_event_id LIMIT $3) AS range) AS event
                """,
                [
                    .int64(Int64(last.lastID)), .bytes(last.head.isEmpty ? nil : last.head),
                    .int64(Int64(min(Self.rangeLength, limit - report.verified))),
                ])[0]
            let count: Int = try row.decode(0)
            guard count > 0 else { break }
            let broken = try (row.decodeIfPresent(2, as: [Int].self) ?? []).map {
                ($0, "an event before this one was removed, added or moved")
            }
            let changed = try (row.decodeIfPresent(3, as: [Int].self) ?? []).map { ($0, "this event was changed") }
            let problems = (broken + changed).sorted { $0.0 < $1.0 }.map { "\($0.0): \($0.1)" }
            let listed = problems.prefix(max(0, Self.problemLimit - report.problems.count))
            report.problems += listed
            report.omitted += problems.count - listed.count
            report.verified += count
            let id: Int = try row.decode(1)
            let hash = try connection.query("SELECT hash FROM \(table) WHERE security_event_id = $1", [.int64(Int64(id))])
            last = EventCheckpoint(lastID: id, head: try hash[0].decode(0, as: PostgresBytes.self).bytes)
        }
        return last
    }
}
