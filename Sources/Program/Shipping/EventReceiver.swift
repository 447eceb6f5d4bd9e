import JSON
import Tenancy

/// A receiver of security events.
protocol EventReceiver: Sendable {
    /// The receiver's name in the log.
    var name: String { get }

    /// Sends events, and returns after the receiver has confirmed them.
    func send(_ batch: EventShipment.Batch) async throws
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
