import Foundation
import PostgresClient
import Synchronization

/// Organizations with events that wait to be linked into the chain, and the events that this server expects in the chain.
package final class PendingEventList: Sendable {
    /// The events of one organization that were committed and are not yet seen in the chain.
    private struct Expected {
        let name: String
        var since: [ExpectedEvent.Key: Int] = [:]
        /// How many look-ups in a row have failed.
        var failures = 0
    }

    private struct Contents {
        var names: Set<String> = []
        var expected: [UUID: Expected] = [:]
        var count: Int { expected.values.reduce(0) { $0 + $1.since.count } }

        /// Called after a successful look-up: resets the failures, and removes the organization if nothing is expected of it any
        /// more.
        mutating func settle(_ organization: UUID) {
            expected[organization]?.failures = 0
            if expected[organization]?.since.isEmpty == true { expected[organization] = nil }
        }
    }

    private let contents = Mutex(Contents())

    /// How many events are remembered at most, for all organizations.
    private static let limit = 20_000
    /// How many times, a second apart, events are looked up in an organization that can't be read or is refused.
    private static let attempts = 60

    /// Remembers that the organization has events to link.
    package func note(_ organization: Organization) { contents.withLock { _ = $0.names.insert(organization.name) } }

    /// Remembers events whose write was committed, until they are seen in the chain.
    package func expect(_ events: [ExpectedEvent], of organization: Organization) {
        contents.withLock { contents in
            let room = max(0, Self.limit - contents.count)
            for event in events.prefix(room) {
                contents.expected[organization.id, default: Expected(name: organization.name)].since[event.key] = event.since
            }
        }
    }

    /// The expected events that are not known to be in the chain.
    func expected(of organization: Organization) -> [ExpectedEvent] {
        contents.withLock { $0.expected[organization.id]?.since.map { ExpectedEvent($0.key, since: $0.value) } ?? [] }
    }

    /// Forgets events, except those that were written again meanwhile.
    func forget(_ events: [ExpectedEvent], of organization: Organization) {
        contents.withLock { contents in
            for event in events where contents.expected[organization.id]?.since[event.key] == event.since {
                contents.expected[organization.id]?.since[event.key] = nil
            }
            contents.settle(organization.id)
        }
    }

    /// Forgets events that this server linked.
    func forgetLinked(_ events: [PendingEvent], of organization: Organization) {
        contents.withLock { contents in
            guard contents.expected[organization.id] != nil else { return }
            for event in events {
                let key = ExpectedEvent.Key(details: event.details ?? "", actor: event.actor, requestID: event.requestID)
                guard let since = contents.expected[organization.id]?.since[key],
                    ExpectedEvent(key, since: since).earliest(.longest) <= event.microseconds
                else { continue }
                contents.expected[organization.id]?.since[key] = nil
            }
            contents.settle(organization.id)
        }
    }

    /// Counts a failed look-up of an organization's events. After ``attempts`` failures the events are forgotten, because the
    /// organization may have been removed or renamed.
    func postpone(_ name: String) {
        contents.withLock { contents in
            for (id, expected) in contents.expected where expected.name == name {
                contents.expected[id]?.failures += 1
                if expected.failures + 1 >= Self.attempts { contents.expected[id] = nil }
            }
        }
    }

    /// The names of organizations with new events since the last call, and of organizations with expected events that are not yet
    /// seen in the chain.
    func take() -> Set<String> {
        contents.withLock { contents in
            defer { contents.names = [] }
            return contents.names.union(contents.expected.values.map(\.name))
        }
    }
}
