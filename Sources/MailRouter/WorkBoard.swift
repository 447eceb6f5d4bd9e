import Foundation

/// Workers wait here for work. The service reports due mailboxes, and mail servers report new messages.
final class WorkBoard: @unchecked Sendable {
    // Sendable: all state is read and written while `condition` is locked.
    private let condition = NSCondition()
    /// How many waiting workers may now ask the service for a mailbox.
    private var permits = 0
    /// How many workers wait.
    private var waiting = 0
    /// How many workers with a permit do not know yet whether the service has a mailbox for them.
    private var undecided = 0
    private var hasFound = false
    private var jobs: [(mailbox: String, notBefore: Date)] = []
    private var isStopped = false

    /// A worker's next task.
    enum Work {
        /// Ask the service for any mailbox.
        case any
        /// Ask the service for this mailbox, because its mail server has new messages.
        case mailbox(String)
    }

    /// Waits for work.
    ///
    /// - Returns: Nil after ``stop()``.
    func next() -> Work? {
        condition.lock()
        defer { condition.unlock() }
        waiting += 1
        defer { waiting -= 1 }
        condition.broadcast()
        while !isStopped {
            let now = Date()
            if let index = jobs.firstIndex(where: { $0.notBefore <= now }) { return .mailbox(jobs.remove(at: index).mailbox) }
            if permits > 0 {
                permits -= 1
                return .any
            }
            _ = condition.wait(until: jobs.map(\.notBefore).min() ?? now.addingTimeInterval(3_600))
        }
        return nil
    }

    /// Adds a mailbox for a worker. A mailbox that is already in the list is not added again.
    func add(_ mailbox: String, after seconds: Double = 0) {
        condition.lock()
        defer { condition.unlock() }
        guard !jobs.contains(where: { $0.mailbox == mailbox }) else { return }
        jobs.append((mailbox, Date().addingTimeInterval(seconds)))
        condition.broadcast()
    }

    /// Lets this number of waiting workers ask the service for mailboxes.
    func offer(_ count: Int) {
        condition.lock()
        defer { condition.unlock() }
        let more = min(count, waiting - permits)
        guard more > 0 else { return }
        permits += more
        undecided += more
        hasFound = false
        condition.broadcast()
    }

    /// Notes whether the service had a mailbox for a worker with a permit.
    func decide(_ found: Bool) {
        condition.lock()
        defer { condition.unlock() }
        undecided -= 1
        if found { hasFound = true }
        condition.broadcast()
    }

    /// Waits until all workers with a permit know whether the service has a mailbox for them.
    ///
    /// - Returns: Whether the service had a mailbox for any of them.
    func waitForDecision(seconds: Double) -> Bool {
        wait(seconds) { undecided == 0 }
        condition.lock()
        defer { condition.unlock() }
        return hasFound
    }

    /// Waits until a worker is free.
    ///
    /// - Returns: Whether a worker is free.
    func waitForWorker(seconds: Double) -> Bool { wait(seconds) { waiting > permits } }

    /// Makes ``next()`` return nil from now on.
    func stop() {
        condition.lock()
        defer { condition.unlock() }
        isStopped = true
        condition.broadcast()
    }

    @discardableResult
    private func wait(_ seconds: Double, until isTrue: () -> Bool) -> Bool {
        condition.lock()
        defer { condition.unlock() }
        let deadline = Date().addingTimeInterval(seconds)
        while !isTrue(), !isStopped, Date() < deadline { _ = condition.wait(until: deadline) }
        return isTrue()
    }
}
