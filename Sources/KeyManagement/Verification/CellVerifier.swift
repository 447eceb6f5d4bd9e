import CellCrypto
import Dispatch
import Foundation
import Model
import PostgresClient
import Synchronization

/// Opens cells of one entity on separate threads, while another thread reads them.
final class CellVerifier: Sendable {
    /// A cell that does not open, with its bytes.
    typealias Bad = (cell: VerificationReport.BadCell, content: [UInt8])

    private struct Result {
        var cells = 0
        var bad: [Bad] = []
    }

    private let entity: EntityDefinition
    private let names: [String]
    private let organization: UUID
    private let keyVersion: Int
    private let key: DataKey
    private let onCells: @Sendable (Int) -> Void
    private let chunks = BlockingQueue(capacity: 8)
    private let workers = DispatchGroup()
    private let result = Mutex(Result())

    /// The approximate size of a chunk in bytes.
    static let chunkLength = 1 << 18
    private static let workerCount = min(max(ProcessInfo.processInfo.activeProcessorCount, 1), 4)

    /// - Parameter onCells: Called, from any thread, with the number of cells of each chunk.
    init(_ entity: EntityDefinition, organization: UUID, keyVersion: Int, key: DataKey, onCells: @escaping @Sendable (Int) -> Void)
    {
        self.entity = entity
        self.organization = organization
        self.keyVersion = keyVersion
        self.key = key
        self.onCells = onCells
        names = entity.encryptedAttributes.map { entity.cellName($0.logicalName) }
    }

    func start() {
        for _ in 0..<Self.workerCount {
            workers.enter()
            Thread.detachNewThread { [self] in
                defer { workers.leave() }
                do { try work() } catch { chunks.finish(.failure(error)) }
            }
        }
    }

    private func work() throws {
        let cipher = try key.makeCipher()
        while let chunk = try chunks.take() {
            let found = try open(chunk, with: cipher)
            onCells(found.cells)
            result.withLock {
                $0.cells += found.cells
                $0.bad += found.bad
            }
        }
    }

    /// Adds rows of `id, cell, …` in COPY's format. Waits while the workers' queues are full.
    func add(_ chunk: [UInt8]) throws { try chunks.put(chunk) }

    /// Waits until all cells were opened.
    ///
    /// - Throws: The error with which a worker or the reader failed.
    func finish(_ reading: Swift.Result<Void, any Error> = .success(())) throws -> (cells: Int, bad: [Bad]) {
        chunks.finish(reading)
        workers.wait()
        if let failure = chunks.failure { throw failure }
        return result.withLock { ($0.cells, $0.bad) }
    }

    private func open(_ chunk: [UInt8], with cipher: CellCipher) throws -> Result {
        var result = Result()
        try chunk.withUnsafeBytes { bytes in
            var fields = BinaryCopyFields(bytes)
            while !fields.isAtEnd {
                try fields.begin(fields: names.count + 1)
                let id = try fields.uuid()
                for name in names {
                    guard let cell = try fields.field() else { continue }
                    result.cells += 1
                    let address = CellAddress(organization: organization, record: id, attribute: name)
                    do {
                        try cipher.open(cell, at: address) { _ in }
                    } catch is CellError {
                        let content = Array(cell)
                        let cause = VerificationReport.Cause(of: content, keyVersion: keyVersion)
                        result.bad.append((.init(address: address.description, cause: cause), content))
                    }
                }
            }
        }
        return result
    }
}
