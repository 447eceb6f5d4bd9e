import Model
import PostgresClient
import Synchronization

/// Limits the memory that large request bodies take at a time: in total, and for each client.
///
/// A body is read whole before it is parsed, because the service refuses the whole request if one record is malformed. A limit for
/// each body is not enough, because many bodies together could exhaust the memory.
final class LargeBodies: Sendable {
    /// How many bytes of large bodies all clients together may have in memory.
    static let limit = 128 << 20
    /// How many bytes of large bodies one client may have in memory.
    static let clientLimit = 48 << 20
    /// Seconds after which a refused client may try again.
    private static let delay = 2

    private let held = Mutex<[PoolBorrower: Int]>([:])

    /// The bytes that one request holds, until ``end()``.
    final class Share: Sendable {
        private let bodies: LargeBodies
        private let client: PoolBorrower
        private let count = Mutex(0)

        fileprivate init(_ bodies: LargeBodies, _ client: PoolBorrower) {
            self.bodies = bodies
            self.client = client
        }

        /// Sets the total of held bytes. Bodies that are not large are not counted.
        ///
        /// - Throws: ``FieldsealError`` with a time to retry, when the limit is reached.
        func hold(_ bytes: Int) throws(FieldsealError) {
            guard bytes > APILimits.bodyLength else { return }
            let isHeld = count.withLock { count in
                guard bytes > count else { return true }
                guard bodies.add(bytes - count, of: client) else { return false }
                count = bytes
                return true
            }
            guard !isHeld else { return }
            throw FieldsealError(
                .unexpected,
                "The server's limit of large requests at a time, or this client's, is reached. The request was not processed. Wait, "
                    + "then send it again.",
                retryAfter: LargeBodies.delay)
        }

        /// Releases the held bytes after the response.
        func end() {
            let count = count.withLock { count in
                defer { count = 0 }
                return count
            }
            if count > 0 { bodies.remove(count, of: client) }
        }
    }

    func share(of client: PoolBorrower) -> Share { Share(self, client) }

    private func add(_ bytes: Int, of client: PoolBorrower) -> Bool {
        held.withLock { held in
            let own = held[client, default: 0] + bytes
            guard own <= Self.clientLimit, held.values.reduce(bytes, +) <= Self.limit else { return false }
            held[client] = own
            return true
        }
    }

    private func remove(_ bytes: Int, of client: PoolBorrower) {
        held.withLock { held in
            let rest = held[client, default: bytes] - bytes
            held[client] = rest > 0 ? rest : nil
        }
    }
}
