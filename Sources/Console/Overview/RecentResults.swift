import Foundation
import Synchronization

/// Results that may take long to compute, one for each organization or person.
///
/// A page waits only briefly for a result. After that the computation continues in the background, and the page shows the
/// previous result. The longer a computation takes, the longer its result is kept, so that computing takes only a small share
/// of the time.
final class RecentResults<Value: Sendable>: Sendable {
    /// A result.
    struct Result: Sendable {
        let value: Value
        let date: Date
        /// How long the computation took.
        let seconds: TimeInterval
    }

    private struct Entry {
        var kept: Result?
        var isRunning = false
        var waiting: [AsyncStream<Swift.Result<Result, any Error>>.Continuation] = []
    }

    private let entries = Mutex<[UUID: Entry]>([:])
    /// Seconds for which a result is reused at least.
    private let leastLifetime: TimeInterval
    /// How long a page waits for a result.
    private let patience: Duration

    init(leastLifetime: TimeInterval = 0, patience: Duration) {
        self.leastLifetime = leastLifetime
        self.patience = patience
    }

    /// A computation that took at most this number of seconds is repeated for each page.
    private static var quick: TimeInterval { 0.25 }
    /// A result is reused for this multiple of the time that its computation took.
    private static var relativeLifetime: TimeInterval { 50 }
    private static var longestLifetime: TimeInterval { 600 }
    /// How many results are kept.
    private static var limit: Int { 1_000 }

    /// The result for an organization, or for one person.
    ///
    /// - Returns: Nil while the first computation is running.
    func of(_ organization: UUID, _ work: @escaping @Sendable () async throws -> Value) async throws -> Result? {
        let (results, waiting) = AsyncStream<Swift.Result<Result, any Error>>.makeStream()
        let (kept, starts) = entries.withLock { entries -> (Result?, Bool) in
            var entry = entries[organization] ?? Entry()
            if let kept = entry.kept, isFresh(kept) {
                waiting.yield(.success(kept))
                return (kept, false)
            }
            let starts = !entry.isRunning
            entry.isRunning = true
            entry.waiting.append(waiting)
            if entries.count >= Self.limit { entries = entries.filter(\.value.isRunning) }
            entries[organization] = entry
            return (entry.kept, starts)
        }
        if starts { Task { await run(organization, work) } }
        return try await first(of: results)?.get() ?? kept
    }

    private func isFresh(_ result: Result) -> Bool {
        let relative = result.seconds <= Self.quick ? 0 : min(Self.longestLifetime, result.seconds * Self.relativeLifetime)
        return abs(result.date.timeIntervalSinceNow) < max(leastLifetime, relative)
    }

    private func run(_ organization: UUID, _ work: @Sendable () async throws -> Value) async {
        let start = ContinuousClock.now
        let outcome: Swift.Result<Result, any Error>
        do {
            let value = try await work()
            outcome = .success(Result(value: value, date: Date(), seconds: (ContinuousClock.now - start) / .seconds(1)))
        } catch {
            outcome = .failure(error)
        }
        let waiting = entries.withLock { entries in
            let waiting = entries[organization]?.waiting ?? []
            entries[organization] = Entry(kept: try? outcome.get())
            return waiting
        }
        for page in waiting {
            page.yield(outcome)
            page.finish()
        }
    }

    /// The result, if it is ready within the time that a page waits.
    private func first(of results: AsyncStream<Swift.Result<Result, any Error>>) async -> Swift.Result<Result, any Error>? {
        await withTaskGroup(of: Swift.Result<Result, any Error>?.self) { group in
            group.addTask { await results.first { _ in true } }
            group.addTask { [patience] in
                try? await Task.sleep(for: patience)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
    }
}
