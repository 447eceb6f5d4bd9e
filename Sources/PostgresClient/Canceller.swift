import CLibPQ
import Dispatch
import Glibc
import Synchronization

/// Cancels the statement that a connection is running, from any thread.
///
/// A request to cancel travels on a connection of its own and may arrive late. So each borrower of the connection has a turn: a
/// request for a turn that ended is dropped, and a connection with a request under way is not lent again.
final class Canceller: Sendable {
    /// One borrower's time with the connection.
    struct Turn: Sendable, Equatable { fileprivate let number: UInt64 }

    private final class Handle: @unchecked Sendable {
        // Sendable: libpq allows PQcancel on any thread and changes nothing in the handle; it is freed with the last reference.
        let pointer: OpaquePointer

        init(_ pointer: OpaquePointer) { self.pointer = pointer }

        deinit { PQfreeCancel(pointer) }
    }

    /// A descriptor of the connection's socket besides libpq's own, which libpq may close and the system may give away again.
    private final class Socket: Sendable {
        let descriptor: Int32

        init?(_ connection: OpaquePointer?) {
            descriptor = dup(PQsocket(connection))
            if descriptor < 0 { return nil }
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        }

        deinit { close(descriptor) }
    }

    private struct State {
        var handle: Handle?
        var socket: Socket?
        var turn: UInt64 = 0
        /// Whether a request of this turn was sent, or is being sent.
        var isCancelled = false
    }

    private let state = Mutex(State())

    func arm(_ connection: OpaquePointer?) {
        let handle = PQgetCancel(connection).map(Handle.init)
        let socket = Socket(connection)
        state.withLock { ($0.handle, $0.socket) = (handle, socket) }
    }

    func disarm() { state.withLock { ($0.handle, $0.socket) = (nil, nil) } }

    /// Cuts the connection: what waits for its server fails at once.
    func cut() {
        guard let socket = state.withLock(\.socket) else { return }
        _ = shutdown(socket.descriptor, Int32(SHUT_RDWR))
    }

    /// The turn that is under way.
    var turn: Turn { state.withLock { Turn(number: $0.turn) } }

    /// Ends the turn: later requests for it are dropped.
    ///
    /// - Returns: Whether a request of this turn may still arrive.
    func endTurn() -> Bool {
        state.withLock { state in
            defer { (state.turn, state.isCancelled) = (state.turn + 1, false) }
            return state.isCancelled
        }
    }

    /// Asks the server to stop, again and again until the turn ends: PostgreSQL ignores a request that it notices between two messages
    /// of one query. For turns that end, those of a pool's borrowers.
    func cancelUntilItEnds(_ turn: Turn, repeatingAfter pause: DispatchTimeInterval = .milliseconds(250)) {
        guard cancel(turn) else { return }
        DispatchQueue.global().asyncAfter(deadline: .now() + pause) { [self] in
            cancelUntilItEnds(turn, repeatingAfter: .seconds(2))
        }
    }

    /// Asks the server to stop what runs in this turn. PQcancel opens a connection of its own and waits for it to close, so it gets
    /// a thread that may block; `tcp_user_timeout` bounds it.
    ///
    /// - Returns: Whether the turn is under way.
    @discardableResult
    func cancel(_ turn: Turn) -> Bool {
        let handle = state.withLock { state -> Handle? in
            guard turn.number == state.turn, let handle = state.handle else { return nil }
            state.isCancelled = true
            return handle
        }
        guard let handle else { return false }
        DispatchQueue.global().async { [self] in
            // The turn may have ended before this thread came: nothing is left to stop, and the connection is not lent again.
            guard state.withLock({ $0.turn == turn.number }) else { return }
            var message = [CChar](repeating: 0, count: 256)
            _ = PQcancel(handle.pointer, &message, Int32(message.count))
        }
        return true
    }
}
