import Synchronization

/// Limits how many tasks run and wait at a time: in total, and for each key.
///
/// The fuller the gate is, the fewer tasks a key may have. So few keys can't take all places: a key that has no task yet finds one.
/// Waiting tasks hold no thread. Waiting tasks run in order, except that tasks of other keys overtake the tasks of a key at its
/// limit.
package final class AdmissionGate<Key: Hashable & Sendable>: Sendable {
    /// How many tasks may run and wait at a time.
    package struct Limits: Sendable {
        package var running: Int
        package var runningPerKey: Int
        package var waiting = 0
        package var waitingPerKey = 0
        /// How many tasks may wait in kept places. Only tasks with `isKept` wait there.
        package var waitingKept = 0

        package init(running: Int, runningPerKey: Int, waiting: Int = 0, waitingPerKey: Int = 0, waitingKept: Int = 0) {
            self.running = running
            self.runningPerKey = runningPerKey
            self.waiting = waiting
            self.waitingPerKey = waitingPerKey
            self.waitingKept = waitingKept
        }
    }

    /// The gate has no room for another waiting task.
    package struct Full: Error {}

    private struct Waiter {
        let id: UInt64
        let key: Key
        let isKept: Bool
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct State {
        var running = 0
        var runningOf: [Key: Int] = [:]
        var waiters: [Waiter] = []
        var lastID: UInt64 = 0
    }

    private enum Step { case run, wait, refuse }

    private let limits: Limits
    private let state = Mutex(State())

    package init(_ limits: Limits) { self.limits = limits }

    /// Runs `body` when there is room.
    ///
    /// - Parameter isKept: Whether the task waits in a kept place.
    /// - Throws: ``Full`` if the task may neither run nor wait. Then `body` is not run. Errors of `body` are passed on.
    package func run<Result>(_ key: Key, isKept: Bool = false, _ body: () async throws -> Result) async throws -> Result {
        try await enter(key, isKept)
        defer { leave(key) }
        return try await body()
    }

    private func enter(_ key: Key, _ isKept: Bool) async throws {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let step = state.withLock { state -> Step in
                    if mayRun(key, state) {
                        start(key, &state)
                        return .run
                    }
                    guard mayWait(key, isKept, state) else { return .refuse }
                    state.waiters.append(Waiter(id: id, key: key, isKept: isKept, continuation: continuation))
                    return .wait
                }
                switch step {
                case .run: continuation.resume()
                case .refuse: continuation.resume(throwing: Full())
                case .wait: if Task.isCancelled { giveUp(id) }
                }
            }
        } onCancel: {
            giveUp(id)
        }
    }

    private func leave(_ key: Key) {
        let next = state.withLock { state -> [Waiter] in
            state.running -= 1
            let left = state.runningOf[key, default: 1] - 1
            state.runningOf[key] = left > 0 ? left : nil
            var next: [Waiter] = []
            while let index = state.waiters.firstIndex(where: { mayRun($0.key, state) }) {
                let waiter = state.waiters.remove(at: index)
                start(waiter.key, &state)
                next.append(waiter)
            }
            return next
        }
        for waiter in next { waiter.continuation.resume() }
    }

    private func giveUp(_ id: UInt64) {
        let waiter = state.withLock { state in
            state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) }
        }
        waiter?.continuation.resume(throwing: CancellationError())
    }

    private func mayRun(_ key: Key, _ state: borrowing State) -> Bool {
        Self.hasRoom(
            for: state.runningOf[key, default: 0], limits.runningPerKey, free: limits.running - state.running)
    }

    private func mayWait(_ key: Key, _ isKept: Bool, _ state: borrowing State) -> Bool {
        let waiters = state.waiters.filter { $0.isKept == isKept }
        return Self.hasRoom(
            for: waiters.count { $0.key == key }, limits.waitingPerKey,
            free: (isKept ? limits.waitingKept : limits.waiting) - waiters.count)
    }

    /// Whether a key with `count` tasks may have another one. A key with tasks may have one for each four free places. So all
    /// places are taken only if about as many keys as there are places have a task.
    private static func hasRoom(for count: Int, _ limit: Int, free: Int) -> Bool {
        count < limit && (count == 0 ? free > 0 : free > 4 * count)
    }

    private func start(_ key: Key, _ state: inout State) {
        state.running += 1
        state.runningOf[key, default: 0] += 1
    }
}
