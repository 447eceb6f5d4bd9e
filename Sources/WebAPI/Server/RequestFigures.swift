import MetricsFormat
import RouterProtocol
import Synchronization

/// Counts the requests of a server by route, status and duration.
final class RequestFigures: Sendable {
    /// The kinds of requests. The names of the kinds are labels of metrics, and part of the product's interface.
    enum Route: String, CaseIterable {
        case records, batch, metadata, router, soap, token, console, health
        /// A router's request for work, which waits up to a minute.
        case wait

        init(_ path: String) {
            func has(_ text: StaticString) -> Bool { path.contains(ascii: text) }
            if has("/api/data/") {
                if has("/$batch") || has("/%24batch") {
                    self = .batch
                } else if has("/fieldseal.") {
                    self = has("/fieldseal.WaitForWork") ? .wait : .router
                } else {
                    self = has("/$metadata") || has("Definitions") ? .metadata : .records
                }
            } else if has("/oauth2/") || has("/.well-known/") || has("/discovery/") {
                self = .token
            } else if WebAPI.isSOAP(path) {
                self = .soap
            } else {
                self = path == "/healthz" || path == "/readyz" ? .health : .console
            }
        }
    }

    private struct State {
        /// The number of requests by route and status.
        var counts: [Int: Int] = [:]
        var durations: [Route: MetricsText.Histogram] = [:]
    }

    private let state = Mutex(State())

    /// The upper bounds of the histogram's buckets, in seconds. The last bound is the default time limit of a statement.
    private static let bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
    private static let routes = Route.allCases
    /// One more than the highest status, because statuses have three digits.
    private static let statuses = 1_000

    func count(_ path: String, status: Int, seconds: Double) {
        let route = Route(path)
        let index = Self.routes.firstIndex(of: route) ?? 0
        state.withLock { state in
            state.counts[index * Self.statuses + status % Self.statuses, default: 0] += 1
            state.durations[route, default: MetricsText.Histogram(bounds: Self.bounds)].add(seconds)
        }
    }

    func write(to text: inout MetricsText) {
        let (counts, durations) = state.withLock { ($0.counts, $0.durations) }
        text.counter(
            "fieldseal_http_requests", "Requests that were answered, by route and status.",
            counts.sorted { $0.key < $1.key }.map { key, count in
                .init(["route": Self.routes[key / Self.statuses].rawValue, "status": "\(key % Self.statuses)"], Double(count))
            })
        text.histogram(
            "fieldseal_http_request_seconds", "Durations of requests, by route.", "route",
            Self.routes.compactMap { route in durations[route].map { (route.rawValue, $0) } })
    }
}
