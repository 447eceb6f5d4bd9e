import Foundation
import Model
import PostgresClient
import Synchronization

/// Limits how many requests one client sends within an interval, and how many of them run at a time. For requests of a network
/// without a token, only the number at a time is limited.
///
/// Each server counts for itself, as in Dataverse. Counting in the database would take longer than most requests.
final class RequestQuota: Sendable {
    private struct Usage {
        /// The start of the interval in which requests are counted.
        var start: ContinuousClock.Instant
        var requests = 0
        /// How many requests the previous interval had.
        var before = 0
        var running = 0
    }

    private let limits: APILimits
    private let usages = Mutex<[PoolBorrower: Usage]>([:])
    /// How many clients are counted before those without recent requests are removed.
    private static let clientLimit = 10_000

    init(_ limits: APILimits) {
        self.limits = limits
    }

    /// Counts a request. The caller must call ``end(_:)`` afterwards.
    ///
    /// - Throws: ``FieldsealError`` `.requestQuotaExceeded` or `.concurrentRequestsExceeded`. Then the request is not counted.
    func begin(_ client: PoolBorrower) throws(FieldsealError) {
        let refusal = usages.withLock { usages -> FieldsealError? in
            // Without a quota the interval has no effect, so the clock is read only for a client that is not in `usages` yet.
            var usage = limits.clientRequests == nil ? usages[client] ?? Usage(start: .now) : current(usages[client])
            if usage.running >= limits.clientShare {
                return FieldsealError(
                    .concurrentRequestsExceeded,
                    "This client may have \(limits.clientShare) requests at a time. Wait for an answer, then try again.",
                    retryAfter: 1)
            }
            if case .principal = client, let limit = limits.clientRequests, let seconds = wait(of: usage, for: limit) {
                return FieldsealError(
                    .requestQuotaExceeded,
                    "This client may send \(limit) requests within \(limits.clientSeconds) seconds. Try again in \(seconds) seconds.",
                    retryAfter: seconds)
            }
            usage.requests += 1
            usage.running += 1
            if usages.count >= Self.clientLimit, usages[client] == nil {
                usages = usages.filter { _, known in
                    let usage = current(known)
                    return usage.running > 0 || usage.before + usage.requests > 0
                }
            }
            usages[client] = usage
            return nil
        }
        if let refusal { throw refusal }
    }

    /// Stops counting a request that waits and is not being processed, until ``resume(_:)``.
    func pause(_ client: PoolBorrower) { usages.withLock { $0[client]?.running -= 1 } }

    /// Counts a paused request again, even beyond the limit.
    func resume(_ client: PoolBorrower) {
        usages.withLock { $0[client, default: Usage(start: .now)].running += 1 }
    }

    func end(_ client: PoolBorrower) {
        usages.withLock { usages in
            usages[client]?.running -= 1
            // Only the running requests of a network are limited. A network without running requests is removed, because there are
            // many networks.
            if case .network = client, usages[client]?.running == 0 { usages[client] = nil }
        }
    }

    /// A client's usage in the current interval.
    private func current(_ known: Usage?) -> Usage {
        let now = ContinuousClock.now
        guard var usage = known else { return Usage(start: now) }
        let passed = Int((now - usage.start) / .seconds(limits.clientSeconds))
        if passed > 0 {
            usage.before = passed == 1 ? usage.requests : 0
            usage.requests = 0
            usage.start += .seconds(limits.clientSeconds * passed)
        }
        return usage
    }

    /// Seconds until another request is allowed; nil if it is allowed now.
    ///
    /// The requests of the previous interval count in proportion to the part of that interval that is within the last
    /// `clientSeconds`.
    private func wait(of usage: Usage, for limit: Int) -> Int? {
        let elapsed = (ContinuousClock.now - usage.start) / .seconds(limits.clientSeconds)
        let room = Double(limit - 1 - usage.requests)
        guard Double(usage.before) * (1 - elapsed) > room else { return nil }
        // `fits` is when the next request is allowed, in intervals from the start of this interval. A value above 1 is within the
        // next interval, in which the requests of this interval count as those of the previous one.
        let fits = room >= 0 ? 1 - room / Double(usage.before) : 1 + max(0, 1 - Double(limit - 1) / Double(usage.requests))
        return max(1, Int((Double(limits.clientSeconds) * (fits - elapsed)).rounded(.up)))
    }
}
