package import PostgresClient

/// Verifies the blocks of an organization's audit against their entries, and against the security events that record them.
///
/// The verification relies on the security events, whose chain ``EventChainVerifier`` verifies. Digests are computed here and not
/// in SQL, where the database owner could replace functions.
package struct AuditVerifier {
    package let organization: Organization

    package init(organization: Organization) { self.organization = organization }

    /// Unsealed entries of this age are overdue, because a running server would have sealed them.
    private static let overdueAge = "15 minutes"
    /// How far the database's clock may be ahead. An unsealed entry with a later time is reported too: SQL could have written that
    /// time to hide that the entry waits to be sealed.
    private static let tolerance = "1 minute"
    private static let waitingLimit = 100_000
    /// How many events are read at a time.
    private static let eventPage = 1_000
    /// A bounded verification begins within this many newest blocks.
    private static let recentBlocks = 1_000
    /// How many events a bounded verification reads after the newest event about the audit.
    private static let recentEvents = 20_000

    private var table: String { organization.qualified("audit_block") }

    /// Verifies the audit's blocks in one snapshot.
    package func verify(_ extent: AuditExtent, on connection: isolated PostgresConnection) throws -> AuditReport {
        try connection.transaction(isolation: .repeatableRead) { try verifyWithin(extent, on: connection) }
    }

    /// Verifies the audit's blocks in the open transaction.
    package func verifyWithin(_ extent: AuditExtent, on connection: isolated PostgresConnection) throws -> AuditReport {
        var report = AuditReport()
        // A schema that is not migrated yet has no table of blocks.
        guard try connection.query("SELECT to_regclass($1) IS NOT NULL", [.text(table)])[0].decode(0) else { return report }
        try verify(extent, &report, on: connection)
        let waiting = try connection.query(
            """
            SELECT count(*), count(*) FILTER (
                       WHERE createdon < now() - interval '\(Self.overdueAge)' OR createdon > now() + interval '\(Self.tolerance)')
              FROM (SELECT createdon FROM \(organization.qualified("audit")) WHERE block IS NULL LIMIT \(Self.waitingLimit)) AS e
            """)[0]
        (report.unsealed, report.overdue) = (try waiting.decode(0), try waiting.decode(1))
        return report
    }

    /// Verifies the blocks of a range, in the open transaction.
    package func verify(
        _ blocks: ClosedRange<Int>, of anchor: AuditAnchor, on connection: isolated PostgresConnection
    ) throws -> AuditReport {
        let part = AuditAnchor(last: blocks.upperBound, digest: anchor.digest, first: anchor.first, before: anchor.before)
        var walk = try AuditWalk(organization, from: blocks.lowerBound, through: blocks.upperBound, part, on: connection)
        try walk.run(on: connection)
        return walk.report
    }

    private func verify(_ extent: AuditExtent, _ report: inout AuditReport, on connection: isolated PostgresConnection) throws {
        let event = try AuditAnchor.newestEvent(of: organization, on: connection)
        guard let event, let anchor = AuditAnchor(event.details ?? "") else {
            let found: Bool = try connection.query("SELECT EXISTS (SELECT FROM \(table))")[0].decode(0)
            let isSealed: Bool = try connection.query(
                "SELECT EXISTS (SELECT FROM \(organization.qualified("audit")) WHERE block IS NOT NULL)")[0].decode(0)
            if found || isSealed { report.add("audit: there are blocks, but no security event records any") }
            if let event { report.add("audit: the security event \(event.id) does not say which blocks there are") }
            return
        }
        let start: Int? =
            switch extent {
            case .whole: nil
            case .recent(let entries): try beginning(of: entries, before: anchor, on: connection)
            }
        var walk = try AuditWalk(organization, from: start, through: nil, anchor, on: connection)
        try walk.run(on: connection)
        report = walk.report
        try follow(event, extent, &report, on: connection)
        if let newest = walk.last, newest.number == anchor.last, newest.digest != anchor.digest {
            report.add("audit block \(anchor.last): it is not the one that the newest security event about the audit records")
        }
        let after = try start == nil ? 0 : recentEvent(on: connection)
        try compareEvents(from: start ?? anchor.first, after: after, &report, on: connection)
    }

    /// Verifies the chain from the newest event about the audit to its end. Each sealing first verifies the same events, so if this
    /// verification fails, sealing fails too.
    private func follow(
        _ event: RecordedEvent, _ extent: AuditExtent, _ report: inout AuditReport, on connection: isolated PostgresConnection
    ) throws {
        let limit = if case .whole = extent { Int.max } else { Self.recentEvents }
        do {
            var known = try AttestedAnchor(event, of: organization)
            try known.follow(upTo: limit, on: connection)
        } catch let problem as EventChainProblem {
            report.add("audit: security event \(problem.description)")
        }
    }

    /// The block with which the newest `entries` entries begin.
    private func beginning(
        of entries: Int, before anchor: AuditAnchor, on connection: isolated PostgresConnection
    ) throws -> Int? {
        let found: Int? = try connection.query(
            """
            SELECT min(number) FROM (
                SELECT number, sum(entries) OVER (ORDER BY number DESC) - entries AS later
                  FROM (SELECT number, entries FROM \(table) ORDER BY number DESC LIMIT \(Self.recentBlocks)) AS newest) AS b
             WHERE later < $1
            """, [.int64(Int64(entries))])[0].decodeIfPresent(0)
        return found.flatMap { $0 > anchor.first ? $0 : nil }
    }

    // MARK: Events

    /// The number of the event of the kind *audit sealed* before the newest 1,000 of that kind; 0 if there are fewer.
    private func recentEvent(on connection: isolated PostgresConnection) throws -> Int {
        try connection.query(
            """
            SELECT security_event_id FROM \(organization.qualified("security_event")) WHERE \(EventsOfKind.condition("$1"))
             \(EventsOfKind.newestFirst) OFFSET \(Self.eventPage) LIMIT 1
            """, [.text(SecurityEvent.Kind.auditSealed.rawValue)]
        ).first?.decode(0) ?? 0
    }

    /// Compares each event about the audit with the blocks in the database, and with the event before it.
    private func compareEvents(
        from start: Int, after first: Int, _ report: inout AuditReport, on connection: isolated PostgresConnection
    ) throws {
        var (after, last) = (first, RecordedSealing?.none)
        while true {
            let rows = try events(after: after, on: connection)
            let events = try rows.compactMap { row in
                try RecordedSealing(row.decodeIfPresent(1) ?? "").map { (id: try row.decode(0, as: Int.self), sealing: $0) }
            }
            let known = try digests(of: events.map(\.sealing.anchor.last), on: connection)
            for (id, sealing) in events {
                if let last { report.add(sealing.problems(after: last, recordedBy: id, from: start)) }
                last = sealing
                if sealing.blocks != nil, sealing.anchor.last >= start, let digest = known[sealing.anchor.last],
                    digest != sealing.anchor.digest
                {
                    report.add("audit block \(sealing.anchor.last): it is not the one that the security event \(id) records")
                }
            }
            guard rows.count == Self.eventPage else { return }
            after = try rows[rows.count - 1].decode(0)
        }
    }

    /// The next events about the audit.
    private func events(after number: Int, on connection: isolated PostgresConnection) throws -> [PostgresRow] {
        let kinds = AuditAnchor.kinds.map { kind in
            """
            (SELECT security_event_id, details FROM \(organization.qualified("security_event"))
              WHERE \(EventsOfKind.condition("'\(kind.rawValue)'", "$1")) AND details LIKE '\(AuditAnchor.pattern)'
              ORDER BY kind, security_event_id LIMIT \(Self.eventPage))
            """
        }
        let rows = try connection.query(
            """
            SELECT * FROM (\(kinds.joined(separator: " UNION ALL "))) AS e ORDER BY security_event_id LIMIT \(Self.eventPage)
            """, [.int64(Int64(number))])
        return Array(rows)
    }

    private func digests(of numbers: [Int], on connection: isolated PostgresConnection) throws -> [Int: [UInt8]] {
        try connection.query(
            "SELECT number, digest FROM \(table) WHERE number = ANY ($1)", [.int64s(numbers.map { Int64($0) })]
        ).reduce(into: [:]) { $0[try $1.decode(0, as: Int.self)] = try $1.decode(1, as: PostgresBytes.self).bytes }
    }
}
