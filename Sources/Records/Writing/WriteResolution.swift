import Foundation
import Model
import PostgresClient
import Tenancy

/// What a write leaves behind, as far as it is known before its answer.
struct WriteTrace: Sendable {
    enum Effect: Sendable {
        /// - Parameter isOwnID: Whether this server chose the id, so that nothing else can have made a record with it.
        case create(isOwnID: Bool)
        case update(WriteCondition)
        case delete
    }

    let entity: EntityDefinition
    /// Nil when a key names the record that is not its id.
    let id: UUID?
    let effect: Effect
}

/// The connection broke while writes were committed.
struct UncertainCommit: Error {
    /// The server process that was asked to commit.
    let backend: Int32
    /// What each write returned before the commit, if that had arrived.
    let outcomes: [WriteOutcome]?
}

/// Finds out whether writes of one transaction happened whose connection broke before the answer came.
///
/// It looks on another connection, once the server process of the broken one is gone: until then the commit may still come.
struct WriteResolution: Sendable {
    let session: Session
    let traces: [WriteTrace]
    /// When the writes began, by both clocks.
    let start: (instant: ContinuousClock.Instant, date: Date)

    /// How long the outcome is looked for.
    private static let patience = Duration.seconds(10)

    private enum Verdict {
        case happened(WriteOutcome)
        case didNotHappen
        /// The record is there and shows neither. It may have another's values.
        case unclear(WriteOutcome?)
    }

    /// - Returns: What the writes returned, when they happened; nil when they did not.
    /// - Throws: ``PostgresError`` of kind `unknownOutcome` when it can't be told.
    func outcomes(after uncertain: UncertainCommit) async throws -> [WriteOutcome]? {
        let deadline = ContinuousClock.now + Self.patience
        while ContinuousClock.now < deadline, !Task.isCancelled {
            let verdicts = try? await session.deployment.pool.withConnection { connection -> [Verdict]? in
                guard try isGone(uncertain.backend, on: connection) else { return nil }
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

    /// One that happened, or did not, tells for all of the transaction.
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

    /// Whether a server process has ended. Another one that has its number by now only makes this one look alive.
    private func isGone(_ backend: Int32, on connection: isolated PostgresConnection) throws -> Bool {
        try connection.query(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity AS process WHERE process.pid = $1)", [.int32(backend)])[0]
            .decode(0)
    }

    private func verdict(_ trace: WriteTrace, known: WriteOutcome?, on connection: isolated PostgresConnection) throws -> Verdict {
        guard let id = trace.id ?? known?.id else { return .unclear(known) }
        let entity = trace.entity
        let created = entity["createdon"] != nil && entity["createdby"] != nil
        let row = try connection.query(
            """
            SELECT versionnumber, \(created ? "createdon >= $2 AND createdby IS NOT DISTINCT FROM $3" : "NULL::boolean"),
                   \(entity["modifiedon"] == nil ? "NULL::float8" : "extract(epoch FROM clock_timestamp() - modifiedon)::float8")
              FROM \(session.organization.qualified(entity.logicalName)) WHERE \(entity.idColumn) = $1
            """,
            created ? [.uuid(id), .timestamp(start.date - 0.001), .uuid(session.caller.systemUserID)] : [.uuid(id)]
        ).first
        if case .delete = trace.effect {
            return row == nil ? .happened(WriteOutcome(id: id, versionNumber: 0, isCreated: false)) : .didNotHappen
        }
        guard let row else { return .didNotHappen }
        let version = Int64(try row.decode(0, as: Int.self))
        if let known { return known.versionNumber == version ? .happened(known) : .unclear(known) }
        switch trace.effect {
        case .create(let isOwnID):
            let outcome = WriteOutcome(id: id, versionNumber: version, isCreated: true)
            if isOwnID { return .happened(outcome) }
            // A record that was there before kept this one from being created.
            guard let isNew = try row.decodeIfPresent(1, as: Bool.self) else { return .unclear(outcome) }
            return isNew ? .happened(outcome) : .didNotHappen
        default:
            if case .update(.version(version)) = trace.effect { return .didNotHappen }
            let age = try row.decodeIfPresent(2, as: Double.self)
            if let age, age > elapsed + 1 { return .didNotHappen }
            return .unclear(WriteOutcome(id: id, versionNumber: version, isCreated: false))
        }
    }
}

extension Session {
    /// Locks the records that are to be changed in one order, so that transactions which met in a deadlock don't meet again.
    func lock(_ traces: [WriteTrace], on connection: isolated PostgresConnection) throws {
        for (name, traces) in Dictionary(grouping: traces, by: \.entity.logicalName).sorted(by: { $0.key < $1.key }) {
            // What the service may not update, it may not lock, and no transaction waits for.
            guard let entity = traces.first?.entity, entity.has(.update) else { continue }
            let id = entity.idColumn
            _ = try connection.query(
                "SELECT FROM \(organization.qualified(name)) WHERE \(id) = ANY($1) ORDER BY \(id) FOR NO KEY UPDATE",
                [.uuids(traces.compactMap(\.id))])
        }
    }
}
