import Foundation
import Model
import PostgresClient
import Tenancy

/// Finds out whether a transaction was committed, after its connection broke during the COMMIT.
///
/// The resolution uses a different connection, to the primary. First it waits until the server process of the broken connection has
/// ended, because until then the commit may still happen. Then it waits until a commit would survive a failover.
struct WriteResolution: Sendable {
    let session: Session
    let traces: [WriteTrace]
    /// The start of the writes, on the monotonic clock and as a date.
    let start: (instant: ContinuousClock.Instant, date: Date)

    /// How long to look for the outcome.
    private static let patience = Duration.seconds(10)

    private enum Verdict {
        case happened(WriteOutcome)
        case didNotHappen
        /// The record exists, but its values may be another writer's. So it is not certain whether this write happened.
        case unclear(WriteOutcome?)
    }

    /// - Returns: The outcomes of the writes; nil when they were not committed.
    /// - Throws: ``PostgresError`` of kind `unknownOutcome` when the outcome stays unknown.
    func outcomes(after uncertain: UncertainCommit) async throws -> [WriteOutcome]? {
        let deadline = ContinuousClock.now + Self.patience
        while ContinuousClock.now < deadline, !Task.isCancelled {
            let verdicts = try? await session.deployment.pool.withConnection { connection -> [Verdict]? in
                guard try isGone(uncertain.backend, on: connection) else { return nil }
                try connection.settleCommits()
                return try traces.enumerated().map { number, trace in
                    try verdict(trace, known: uncertain.outcomes?[number], on: connection)
                }
            }
            if let verdicts = verdicts.flatMap({ $0 }) { return try conclusion(verdicts) }
            try? await Task.sleep(for: .milliseconds(50))
        }
        throw Self.unknown
    }

    private static let unknown = PostgresError(
        kind: .unknownOutcome, message: "the connection broke before the answer to the commit came")

    /// Either all writes were committed, or none was. So one write with a known outcome decides for the whole transaction.
    private func conclusion(_ verdicts: [Verdict]) throws -> [WriteOutcome]? {
        var outcomes: [WriteOutcome?] = []
        var isCertain = false
        for verdict in verdicts {
            switch verdict {
            case .didNotHappen: return nil
            case .happened(let outcome):
                isCertain = true
                outcomes.append(outcome)
            case .unclear(let outcome): outcomes.append(outcome)
            }
        }
        let known = outcomes.compactMap(\.self)
        guard isCertain, known.count == verdicts.count else { throw Self.unknown }
        return known
    }

    /// Seconds since the writes began.
    private var elapsed: Double { (.now - start.instant) / .seconds(1) }

    /// Whether a server process has ended. If another process has got its process id, the process appears to be alive.
    private func isGone(_ backend: Int32, on connection: isolated PostgresConnection) throws -> Bool {
        try connection.query(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity AS process WHERE process.pid = $1)", [.int32(backend)])[0]
            .decode(0)
    }

    private func verdict(_ trace: WriteTrace, known: WriteOutcome?, on connection: isolated PostgresConnection) throws -> Verdict {
        guard let id = trace.id ?? known?.id else { return .unclear(known) }
        let entity = trace.entity
        let created = entity["createdon"] != nil && entity["createdby"] != nil
        // A migrated record has its original date in `createdon`. The date on which this service created the record is in
        // `overriddencreatedon`.
        let date = entity["overriddencreatedon"] == nil ? "createdon" : "coalesce(overriddencreatedon, createdon)"
        let row = try connection.query(
            """
            SELECT versionnumber, \(created ? "\(date) >= $2 AND createdby IS NOT DISTINCT FROM $3" : "NULL::boolean") AS is_new,
                   \(entity["modifiedon"] == nil ? "NULL::float8" : "extract(epoch FROM clock_timestamp() - modifiedon)::float8") AS age
              FROM \(session.organization.qualified(entity.logicalName)) WHERE \(entity.idColumn) = $1
            """,
            created ? [.uuid(id), .timestamp(start.date - 0.001), .uuid(session.caller.systemUserID)] : [.uuid(id)]
        ).first
        if case .delete = trace.effect {
            return row == nil ? .happened(WriteOutcome(id: id, versionNumber: 0, isCreated: false)) : .didNotHappen
        }
        guard let row else { return .didNotHappen }
        let version = Int64(try row.decode("versionnumber", as: Int.self))
        if let known { return known.versionNumber == version ? .happened(known) : .unclear(known) }
        switch trace.effect {
        case .create(let isOwnID):
            let outcome = WriteOutcome(id: id, versionNumber: version, isCreated: true)
            if isOwnID { return .happened(outcome) }
            // If the record existed before the write, the write did not create it.
            guard let isNew = try row.decodeIfPresent("is_new", as: Bool.self) else { return .unclear(outcome) }
            return isNew ? .happened(outcome) : .didNotHappen
        default:
            if case .update(.version(version)) = trace.effect { return .didNotHappen }
            let age = try row.decodeIfPresent("age", as: Double.self)
            if let age, age > elapsed + 1 { return .didNotHappen }
            return .unclear(WriteOutcome(id: id, versionNumber: version, isCreated: false))
        }
    }
}

extension Session {
    /// Locks the records in a fixed order, so that transactions that were in a deadlock can't cause it again.
    func lock(_ traces: [WriteTrace], on connection: isolated PostgresConnection) throws {
        for (name, traces) in Dictionary(grouping: traces, by: \.entity.logicalName).sorted(by: { $0.key < $1.key }) {
            // If an entity has no message Update, the service's database role has no UPDATE right. Without this right it can't lock
            // rows, and no transaction waits for them.
            guard let entity = traces.first?.entity, entity.has(.update) else { continue }
            let id = entity.idColumn
            _ = try connection.query(
                "SELECT FROM \(organization.qualified(name)) WHERE \(id) = ANY($1) ORDER BY \(id) FOR NO KEY UPDATE",
                [.uuids(traces.compactMap(\.id))])
        }
    }
}
