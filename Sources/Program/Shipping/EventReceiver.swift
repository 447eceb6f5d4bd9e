import JSON
import Tenancy

/// Where security events are sent.
protocol EventReceiver: Sendable {
    /// What the log calls it.
    var name: String { get }

    /// Sends events, and returns once the receiver has them.
    func send(_ batch: EventShipment.Batch) async throws
}

/// Why events could not be sent.
struct ReceiverProblem: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

extension EventShipment.Batch {
    /// Each event as JSON, with the attested end of the chain.
    var objects: [JSONValue] {
        events.map { event in
            guard case .object(let members) = event.json(organization.name) else { return .null }
            return .object(members + [.init("attested", attestedEnd)])
        }
    }
}
