import Foundation
import Glibc
import Model
import PostgresClient
import Synchronization
import Tenancy

/// Reads one entity's cells from the live generation, encrypts them again, and writes them to the new generation.
///
/// Reading, encryption and writing overlap: the two connections have their own threads, and worker threads encrypt. Chunks are
/// given to the workers and taken back in the same order, so rows keep their order. Bounded queues limit the memory, regardless
/// of the number of cells.
struct CellBackfill: Sendable {
    let entity: EntityDefinition
    let organization: Organization
    /// For a clone, the organization for which the cells were sealed; else nil.
    var origin: UUID?
    let keys: KeyPair
    let toleratesUnreadable: Bool
    var reporter: KeyChangeReporter?

    /// The result of a backfill.
    struct Outcome: Sendable {
        var rows = 0
        var cells = 0
        var unreadable: [UnreadableCell] = []
    }

    /// The approximate size of a chunk in bytes.
    private static let chunkLength = 1 << 18
    /// How many chunks may wait for each worker, and how many that the worker encrypted may wait to be written.
    private static let queueLength = 4
    /// The workers' nice value, from 0 to 19. Requests have priority over them.
    private static let niceness: Int32 = 10
    private static let workerCount = min(max(ProcessInfo.processInfo.activeProcessorCount, 1), 4)

    func run(from reader: PostgresConnection, to writer: PostgresConnection) async throws -> Outcome {
        let lanes = (0..<Self.workerCount).map { _ in Lane(queueLength: Self.queueLength) }
        let total = RunningTotal()
        for lane in lanes { startWorker(on: lane, total) }
        async let reading: Void = reader.run { connection in
            do {
                try read(into: lanes, on: connection)
                for lane in lanes { lane.raw.finish() }
            } catch {
                for lane in lanes { lane.stop(error) }
                throw error
            }
        }
        let written: Int
        do {
            written = try await writer.run { try write(from: lanes, on: $0) }
        } catch {
            // Stops all lanes, so that the other threads end too. A lane that failed earlier keeps its own error, which is the
            // cause.
            for lane in lanes { lane.stop(error) }
            try? await reading
            throw lanes.lazy.compactMap(\.cause).first ?? error
        }
        try await reading
        let outcome = total.value
        guard written == outcome.rows else {
            throw FieldsealError(
                .encryption,
                "PostgreSQL stored \(written) of \(outcome.rows) rows of \(entity.logicalName). Nothing was changed.")
        }
        return outcome
    }

    private func read(into lanes: [Lane], on connection: isolated PostgresConnection) throws {
        let rows = CellRows(of: entity, in: organization, keyVersion: keys.oldVersion)
        var turn = 0
        try connection.copyChunks(of: rows.source, length: Self.chunkLength) { chunk in
            try lanes[turn % lanes.count].raw.put(chunk)
            turn += 1
        }
    }

    private func startWorker(on lane: Lane, _ total: RunningTotal) {
        Thread.detachNewThread {
            // Requests have priority if processors are busy. On Linux, 0 is the calling thread.
            _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, Self.niceness)
            do {
                let resealer = try CellResealer(
                    entity, organization: organization.id, origin: origin, keys: keys, toleratesUnreadable: toleratesUnreadable)
                var known = 0
                while let chunk = try lane.raw.take() {
                    try reporter?.check()
                    var output = BinaryCopyRows(capacity: chunk.count + chunk.count / 4)
                    try chunk.withUnsafeBytes { try resealer.reseal($0, into: &output) }
                    reporter?.add(cells: resealer.cells - known)
                    known = resealer.cells
                    try lane.sealed.put(output.bytes)
                }
                total.add(resealer)
                lane.sealed.finish()
            } catch {
                lane.stop(error)
            }
        }
    }

    private func write(from lanes: [Lane], on connection: isolated PostgresConnection) throws -> Int {
        let rows = CellRows(of: entity, in: organization, keyVersion: keys.newVersion)
        // Chunks were given to the lanes in turn, so the first lane without another chunk marks the end. The other lanes are
        // still read to their end.
        var open = lanes[...]
        return try connection.copyRows(into: rows.target) {
            while let lane = open.popFirst() {
                guard let chunk = try lane.sealed.take() else { continue }
                open.append(lane)
                return chunk
            }
            return nil
        }
    }
}

/// A worker's queue of chunks to encrypt, and its queue of encrypted chunks.
private struct Lane: Sendable {
    let raw: BlockingQueue
    let sealed: BlockingQueue

    init(queueLength: Int) {
        raw = BlockingQueue(capacity: queueLength)
        sealed = BlockingQueue(capacity: queueLength)
    }

    func stop(_ error: any Error) {
        raw.finish(.failure(error))
        sealed.finish(.failure(error))
    }

    /// The error that stopped the lane first.
    var cause: (any Error)? { raw.failure ?? sealed.failure }
}

/// The sum of the workers' results.
private final class RunningTotal: Sendable {
    private let outcome = Mutex(CellBackfill.Outcome())

    var value: CellBackfill.Outcome { outcome.withLock { $0 } }

    func add(_ resealer: CellResealer) {
        let (rows, cells, unreadable) = (resealer.rows, resealer.cells, resealer.unreadable)
        outcome.withLock {
            $0.rows += rows
            $0.cells += cells
            $0.unreadable += unreadable
        }
    }
}
