import Foundation

/// Passes byte buffers from one thread to another. Both threads may block, because neither belongs to the thread pool of Swift's
/// tasks.
///
/// Holds at most ``capacity`` buffers, so memory does not grow with the amount of data.
final class BlockingQueue: @unchecked Sendable {
    // Sendable: all mutable state is accessed only while `condition` is locked.
    private let condition = NSCondition()
    private let capacity: Int
    private var buffers: [[UInt8]] = []
    private var end: Result<Void, any Error>?

    init(capacity: Int) {
        self.capacity = capacity
    }

    /// Adds a buffer. Waits until there is room.
    ///
    /// - Throws: The error with which the other side failed.
    func put(_ buffer: [UInt8]) throws {
        condition.lock()
        defer { condition.unlock() }
        while buffers.count >= capacity, end == nil { condition.wait() }
        if case .failure(let error) = end { throw error }
        buffers.append(buffer)
        condition.broadcast()
    }

    /// Removes a buffer. Waits until there is one; nil after the last one.
    ///
    /// - Throws: The error with which the other side failed.
    func take() throws -> [UInt8]? {
        condition.lock()
        defer { condition.unlock() }
        while buffers.isEmpty, end == nil { condition.wait() }
        if case .failure(let error) = end { throw error }
        guard !buffers.isEmpty else { return nil }
        condition.broadcast()
        return buffers.removeFirst()
    }

    /// Ends the queue: the producer has no more buffers, or the consumer needs none.
    func finish(_ result: Result<Void, any Error> = .success(())) {
        condition.lock()
        if end == nil { end = result }
        condition.broadcast()
        condition.unlock()
    }

    /// The error with which one side failed.
    var failure: (any Error)? {
        condition.lock()
        defer { condition.unlock() }
        guard case .failure(let error) = end else { return nil }
        return error
    }
}
