import Model
import PostgresClient
import Synchronization

/// Limits the memory of responses that their clients have not read yet: in total, and for each client, or each network without
/// a token.
///
/// A response is in memory until its last byte was written to the connection. A client that sends requests and reads nothing could
/// otherwise fill the memory.
final class UnreadResponses: Sendable {
    /// How many bytes of unread responses all clients together may have.
    static let limit = 256 << 20
    /// How many bytes of unread responses one client or network may have. A single response may be larger.
    static let clientLimit = 64 << 20
    /// The largest response, in bytes, that a client without unread responses gets even beyond ``limit``. So other clients
    /// can't lock it out.
    static let freeLength = 256 << 10
    /// Seconds after which a refused client may try again.
    private static let delay = 2

    private struct State {
        var total = 0
        var clients: [PoolBorrower: Int] = [:]
    }

    private let state = Mutex(State())

    /// The bytes of one request's response, until ``end()``.
    final class Share: Sendable {
        private let responses: UnreadResponses
        private let client: PoolBorrower
        private let count = Mutex(0)

        fileprivate init(_ responses: UnreadResponses, _ client: PoolBorrower) {
            self.responses = responses
            self.client = client
        }

        /// Whether the client may have another response.
        var hasRoom: Bool { responses.refusal(of: 0, to: client) == nil }

        /// Refuses a request before its response is made.
        ///
        /// - Throws: ``FieldsealError`` with a time to retry, when the limit is reached.
        func requireRoom() throws(FieldsealError) {
            if let refusal = responses.refusal(of: 0, to: client) { throw refusal }
        }

        /// Sets the number of the response's bytes.
        ///
        /// - Throws: ``FieldsealError`` with a time to retry, when the limit is reached. The number is then unchanged.
        func hold(_ bytes: Int) throws(FieldsealError) {
            if let refusal = set(bytes, mayRefuse: true) { throw refusal }
        }

        /// Adds the bytes of an optional part of the response.
        ///
        /// - Returns: False if the bytes exceed the limit. The number is then unchanged.
        func add(_ bytes: Int) -> Bool {
            count.withLock { count in
                guard responses.add(bytes, to: client) == nil else { return false }
                count += bytes
                return true
            }
        }

        /// Sets the number of bytes of a response that can't be refused, because the request changed something.
        func holdAlways(_ bytes: Int) { _ = set(bytes, mayRefuse: false) }

        /// Releases the bytes after the response was written, or its connection is gone.
        func end() { holdAlways(0) }

        private func set(_ bytes: Int, mayRefuse: Bool) -> FieldsealError? {
            count.withLock { count in
                let more = bytes - count
                if mayRefuse, more > 0, let refusal = responses.add(more, to: client) { return refusal }
                if !mayRefuse || more <= 0 { responses.change(by: more, of: client) }
                count = bytes
                return nil
            }
        }
    }

    func share(of client: PoolBorrower) -> Share { Share(self, client) }

    private func add(_ bytes: Int, to client: PoolBorrower) -> FieldsealError? {
        state.withLock { state in
            if let refusal = Self.refusal(of: bytes, to: client, state) { return refusal }
            Self.change(&state, by: bytes, of: client)
            return nil
        }
    }

    private func change(by bytes: Int, of client: PoolBorrower) {
        guard bytes != 0 else { return }
        state.withLock { Self.change(&$0, by: bytes, of: client) }
    }

    private static func change(_ state: inout State, by bytes: Int, of client: PoolBorrower) {
        state.total += bytes
        let own = state.clients[client, default: 0] + bytes
        state.clients[client] = own > 0 ? own : nil
    }

    private func refusal(of bytes: Int, to client: PoolBorrower) -> FieldsealError? {
        state.withLock { Self.refusal(of: bytes, to: client, $0) }
    }

    private static func refusal(of bytes: Int, to client: PoolBorrower, _ state: State) -> FieldsealError? {
        let own = state.clients[client, default: 0]
        if own > 0, own + max(1, bytes) > clientLimit {
            return FieldsealError(
                .concurrentRequestsExceeded,
                "This client has not read \(clientLimit >> 20) MiB of its responses yet. Read them, then try again.",
                retryAfter: delay)
        }
        guard state.total > 0, state.total + max(1, bytes) > limit, own > 0 || bytes > freeLength else { return nil }
        return FieldsealError(
            .unexpected, "The server holds as many unread responses as it may. Wait, then try again.",
            retryAfter: delay)
    }
}
