import NIOCore
import Synchronization

/// Documents that are the same for each client. All responses share one copy in memory.
final class SharedDocuments: Sendable {
    private let documents = Mutex<[String: ByteBuffer]>([:])
    /// How many documents are kept. So addresses that clients invent don't fill the memory.
    private static let limit = 16

    func document(_ name: String, _ make: () -> [UInt8]) -> ByteBuffer {
        if let document = documents.withLock({ $0[name] }) { return document }
        let document = ByteBuffer(bytes: make())
        documents.withLock { documents in
            if documents.count >= Self.limit { documents.removeAll() }
            documents[name] = document
        }
        return document
    }
}
