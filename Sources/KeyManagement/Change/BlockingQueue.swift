import Foundation

/// Hands byte buffers from one thread to another. Both may block: neither belongs to Swift's pool.
///
/// Holds at most ``capacity`` buffers, so that memory stays constant however much passes through.
final class BlockingQueue: @unchecked Sendable {
    // Sendable: everything mutable is touched only while `condition` is locked.
    private let condition = NSCondition()
    private let capacity: Int
    private var buffers: [[UInt8]] = []
    private var end: Result<Void, any Error>?

    init(capacity: Int) {
        self.capacity = capacity
    }

    /// Waits until there is room.
    ///
    /// - Throws: What the other side failed with.
    func put(_ buffer: [UInt8]) throws {
        condition.lock()
        defer { condition.unlock() }
        while buffers.count >= capacity, end == nil { condition.wait() }
        if case .failure(let error) = end { throw error }
        buffers.append(buffer)
        condition.broadcast()
    }

    /// Waits for a buffer. Nil after the last one.
    ///
    /// - Throws: What the other side failed with.
    func take() throws -> [UInt8]? {
        condition.lock()
        defer { condition.unlock() }
        while buffers.isEmpty, end == nil { condition.wait() }
        if case .failure(let error) = end { throw error }
        guard !buffers.isEmpty else { return nil }
        condition.broadcast()
        return buffers.removeFirst()
    }

    /// Nothing more comes, or the other side need not go on.
    func finish(_ result: Result<Void, any Error> = .success(())) {
        condition.lock()
        if end == nil { end = result }
        condition.broadcast()
        condition.unlock()
    }

    /// What a side failed with.
    var failure: (any Error)? {
        condition.lock()
        defer { condition.unlock() }
        guard case .failure(let error) = end else { return nil }
        return error
    }
}
