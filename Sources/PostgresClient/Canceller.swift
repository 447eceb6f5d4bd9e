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
