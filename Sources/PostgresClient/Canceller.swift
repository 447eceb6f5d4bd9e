import CLibPQ
import Dispatch
import Synchronization

/// Cancels the statement that a connection is running, from any thread.
final class Canceller: Sendable {
    private struct Handle: @unchecked Sendable {
        // Sendable: libpq allows PQcancel on any thread; the pointer is freed once, under the lock.
        var pointer: OpaquePointer?
    }

    private let handle = Mutex(Handle())

    func arm(_ connection: OpaquePointer?) {
        handle.withLock { $0.pointer = PQgetCancel(connection) }
    }

    func disarm() {
        handle.withLock { handle in
            PQfreeCancel(handle.pointer)
            handle.pointer = nil
        }
    }

    /// One borrower's time with the connection.
    final class Lending: Sendable {
        private let isOver = Atomic(false)

        var hasEnded: Bool { isOver.load(ordering: .acquiring) }

        func end() { isOver.store(true, ordering: .releasing) }
    }

    /// Asks the server to stop, again and again until the borrower has ended: PostgreSQL ignores a cancellation that it notices
    /// between two messages of one request.
    func cancel(_ lending: Lending, repeatingAfter pause: DispatchTimeInterval = .milliseconds(250)) {
        guard !lending.hasEnded else { return }
        cancel()
        DispatchQueue.global().asyncAfter(deadline: .now() + pause) { [self] in
            cancel(lending, repeatingAfter: .seconds(2))
        }
    }

    /// Asks the server to stop. PQcancel opens a connection of its own and waits for it to close, so it gets a thread
    /// that may block.
    func cancel() {
        DispatchQueue.global().async { [self] in
            handle.withLock { handle in
                guard let pointer = handle.pointer else { return }
                var message = [CChar](repeating: 0, count: 256)
                _ = PQcancel(pointer, &message, Int32(message.count))
            }
        }
    }
}
