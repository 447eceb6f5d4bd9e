import Foundation
import Model
import PostgresClient
import Synchronization

/// What one client may ask of this server: requests within an interval, and requests at a time. A network without a token is
/// limited in the latter alone.
///
/// Each server counts for itself, as Dataverse's do: to count in the database would cost more than most requests.
final class RequestQuota: Sendable {
    private struct Usage {
        /// When the interval began that requests are counted in.
        var start: ContinuousClock.Instant
        var requests = 0
        /// Requests of the interval before.
        var before = 0
        var running = 0
    }

    private let limits: APILimits
    private let usages = Mutex<[PoolBorrower: Usage]>([:])
    /// Clients that are counted, before those are forgotten that asked for nothing lately.
    private static let clientLimit = 10_000

    init(_ limits: APILimits) {
        self.limits = limits
    }

    /// Counts a request, which ``end(_:)`` has to follow.
    ///
    /// - Throws: ``FieldsealError`` `.requestQuotaExceeded` or `.concurrentRequestsExceeded`, and then nothing is counted.
    func begin(_ client: PoolBorrower) throws(FieldsealError) {
        let refusal = usages.withLock { usages -> FieldsealError? in
            // Without a quota the time is not asked for.
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

    /// Stops counting a request that waits and is not worked on, until ``resume(_:)``.
    func pause(_ client: PoolBorrower) { usages.withLock { $0[client]?.running -= 1 } }

    /// Counts a request again that was paused; it is not refused any more.
    func resume(_ client: PoolBorrower) {
        usages.withLock { $0[client, default: Usage(start: .now)].running += 1 }
    }

    func end(_ client: PoolBorrower) {
        usages.withLock { usages in
            usages[client]?.running -= 1
            // There are more networks than clients, and nothing else of them is counted.
            if case .network = client, usages[client]?.running == 0 { usages[client] = nil }
        }
    }

    /// A client's usage with the interval that now is in.
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

    /// Seconds until one more request fits; nil for none.
    ///
    /// The requests of the interval before count by how much of it the last `clientSeconds` still hold.
    private func wait(of usage: Usage, for limit: Int) -> Int? {
        let elapsed = (ContinuousClock.now - usage.start) / .seconds(limits.clientSeconds)
        let room = Double(limit - 1 - usage.requests)
        guard Double(usage.before) * (1 - elapsed) > room else { return nil }
        // In this interval, or in the next one, for which this one's requests are those before.
        let fits = room >= 0 ? 1 - room / Double(usage.before) : 1 + max(0, 1 - Double(limit - 1) / Double(usage.requests))
        return max(1, Int((Double(limits.clientSeconds) * (fits - elapsed)).rounded(.up)))
    }
}
