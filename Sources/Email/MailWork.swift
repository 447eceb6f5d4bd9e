import Foundation
import PostgresClient
import RouterProtocol
import Synchronization
import Tenancy

/// Wakes routers' requests that wait for work. One connection of the service listens for all requests.
package final class MailWork: Sendable {
    /// Two counters of wake-ups: of the routers of all organizations, and of the routers of one organization. A request reads both
    /// counters when it begins to look for work.
    struct Mark: Equatable {
        fileprivate let all: UInt64
        fileprivate let own: UInt64
    }

    private struct Waiter {
        let schema: String
        let continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        var all: UInt64 = 0
        /// The counters of the organizations whose routers have waited. Any login of the database can notify with any text, so a text
        /// that no request waits for gets no counter.
        var own: [String: UInt64] = [:]
        var waiters: [UInt64: Waiter] = [:]
        var lastID: UInt64 = 0
        var isClosed = false

        func mark(_ schema: String) -> Mark { Mark(all: all, own: own[schema, default: 0]) }
    }

    private let state = Mutex(State())
    /// How many requests may wait, in total and of one client. A waiting request holds memory and a socket, and no database
    /// connection.
    let gate = AdmissionGate<UUID>(.init(running: 2_000, runningPerKey: 500))
    /// The channel of ``NotificationListener``. The triggers of an organization's schema notify this channel.
    private static let channel = "fieldseal_mail_work"

    init() {}

    /// Listens until ``close()``.
    package func run(conninfo: String) async {
        let listener = NotificationListener(conninfo: conninfo, channel: Self.channel)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                // Notifications were lost while there was no connection, so all requests are woken.
                await listener.run { [self] in
                    wakeAll()
                } onNotice: { [self] in
                    wake($0)
                }
            }
            group.addTask { [self] in
                while !isClosed, !Task.isCancelled { await wait(for: "", after: mark(""), upTo: .seconds(3_600)) }
                listener.stop()
            }
        }
    }

    /// Ends all waits, because the service stops. Later waits end at once.
    package func close() {
        resume(
            state.withLock { state in
                state.isClosed = true
                defer { state.waiters = [:] }
                return Array(state.waiters.values)
            })
    }

    var isClosed: Bool { state.withLock(\.isClosed) }

    /// The present counters, for ``wait(for:after:upTo:)``. A notification between the two calls is not missed.
    func mark(_ schema: String) -> Mark {
        state.withLock { state in
            state.own[schema, default: 0] += 0
            return state.mark(schema)
        }
    }

    /// Waits until a notification of an organization has arrived after `mark`, the time limit has passed, the task is cancelled, or
    /// ``close()`` is called.
    func wait(for schema: String, after mark: Mark, upTo limit: Duration) async {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        let timer = Task { [self] in
            try await Task.sleep(for: limit)
            end(id)
        }
        defer { timer.cancel() }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let waits = state.withLock { state in
                    guard !state.isClosed, state.mark(schema) == mark else { return false }
                    state.waiters[id] = Waiter(schema: schema, continuation: continuation)
                    return true
                }
                if !waits { continuation.resume() } else if Task.isCancelled { end(id) }
            }
        } onCancel: {
            end(id)
        }
    }

    private func wake(_ schema: String) {
        resume(
            state.withLock { state in
                guard let count = state.own[schema] else { return [] }
                state.own[schema] = count + 1
                let woken = state.waiters.filter { $0.value.schema == schema }
                for id in woken.keys { state.waiters[id] = nil }
                return Array(woken.values)
            })
    }

    private func wakeAll() {
        resume(
            state.withLock { state in
                state.all += 1
                defer { state.waiters = [:] }
                return Array(state.waiters.values)
            })
    }

    private func end(_ id: UInt64) {
        state.withLock { $0.waiters.removeValue(forKey: id) }?.continuation.resume()
    }

    private func resume(_ waiters: [Waiter]) {
        for waiter in waiters { waiter.continuation.resume() }
    }
}
