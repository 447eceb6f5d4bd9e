import CLibPQ
import Dispatch
import Glibc
import Synchronization

/// Cancels the statement that a connection is running, from any thread.
///
/// A cancel request uses a separate connection and may arrive late, when the next borrower's statement runs. So each use of the
/// connection is a turn. A request for an ended turn is dropped, and a connection with a request in progress is not lent again.
final class Canceller: Sendable {
    /// One borrower's use of the connection.
    struct Turn: Sendable, Equatable { fileprivate let number: UInt64 }

    private final class Handle: @unchecked Sendable {
        // Sendable: libpq allows PQcancel on any thread, and it does not change the handle. The handle is freed with the last
        // reference.
        let pointer: OpaquePointer

        init(_ pointer: OpaquePointer) { self.pointer = pointer }

        deinit { PQfreeCancel(pointer) }
    }

    /// A duplicate of the socket's descriptor, because libpq may close its own descriptor and the system may reuse the number.
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
        /// Whether a request for this turn was sent, or is being sent.
        var isCancelled = false
    }

    private let state = Mutex(State())

    func arm(_ connection: OpaquePointer?) {
        let handle = PQgetCancel(connection).map(Handle.init)
        let socket = Socket(connection)
        state.withLock { ($0.handle, $0.socket) = (handle, socket) }
    }

    func disarm() { state.withLock { ($0.handle, $0.socket) = (nil, nil) } }

    /// Shuts the connection down. Calls that wait for the connection's server fail at once.
    func cut() {
        guard let socket = state.withLock(\.socket) else { return }
        _ = shutdown(socket.descriptor, Int32(SHUT_RDWR))
    }

    /// The current turn.
    var turn: Turn { state.withLock { Turn(number: $0.turn) } }

    /// Ends the turn. Later requests for this turn are dropped.
    ///
    /// - Returns: Whether a request for this turn may still arrive.
    func endTurn() -> Bool {
        state.withLock { state in
            defer { (state.turn, state.isCancelled) = (state.turn + 1, false) }
            return state.isCancelled
        }
    }

    /// Repeats the cancel request until the turn ends, because PostgreSQL ignores a request that arrives between two messages of a
    /// query. Call this only if ``endTurn()`` will be called for the turn. Without ``endTurn()``, the requests never stop.
    func cancelUntilItEnds(_ turn: Turn, repeatingAfter pause: DispatchTimeInterval = .milliseconds(250)) {
        guard cancel(turn) else { return }
        DispatchQueue.global().asyncAfter(deadline: .now() + pause) { [self] in
            cancelUntilItEnds(turn, repeatingAfter: .seconds(2))
        }
    }

    /// Asks the server to cancel this turn's statement. PQcancel opens a separate connection and waits until that connection
    /// closes, so PQcancel runs on a thread that may block. `tcp_user_timeout` limits the wait.
    ///
    /// - Returns: Whether the turn is the current one.
    @discardableResult
    func cancel(_ turn: Turn) -> Bool {
        let handle = state.withLock { state -> Handle? in
            guard turn.number == state.turn, let handle = state.handle else { return nil }
            state.isCancelled = true
            return handle
        }
        guard let handle else { return false }
        DispatchQueue.global().async { [self] in
            // The turn may have ended before this thread ran. If the turn has ended, there is nothing to cancel, and the connection
            // is not lent again.
            guard state.withLock({ $0.turn == turn.number }) else { return }
            var message = [CChar](repeating: 0, count: 256)
            _ = PQcancel(handle.pointer, &message, Int32(message.count))
        }
        return true
    }
}
