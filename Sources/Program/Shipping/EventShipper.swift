import Logging
import ServiceLifecycle
import Tenancy

/// Sends security events to an external receiver. While the receiver is unavailable, events wait in the database, and nothing else
/// is delayed.
struct EventShipper: ServiceLifecycle.Service {
    let deployment: Deployment
    let receiver: any EventReceiver
    let logger: Logger

    private static let interval = Duration.seconds(1)
    private static let longestPause = Duration.seconds(60)

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            let shipment = EventShipment(deployment)
            var pause = Self.interval
            var isAway = false
            while !Task.isCancelled {
                do {
                    if try await shipment.renew() { try await ship(shipment) }
                    if isAway { logger.notice("security events are sent again", metadata: ["receiver": "\(receiver.name)"]) }
                    (isAway, pause) = (false, Self.interval)
                } catch {
                    if Task.isCancelled { return }
                    if !isAway {
                        logger.error(
                            "security events can't be sent, and wait in the database",
                            metadata: ["receiver": "\(receiver.name)", "error": "\(error)"])
                    }
                    (isAway, pause) = (true, min(pause * 2, Self.longestPause))
                }
                try await Task.sleep(for: pause)
            }
        }
    }

    private func ship(_ shipment: EventShipment) async throws {
        for (name, position) in try await shipment.waiting() {
            var last = position
            while try await shipment.renew() {
                let batch = try await shipment.batch(of: name, after: last, by: commandLineCaller)
                guard let newest = batch.events.last?.id else { break }
                try await receiver.send(batch)
                try await shipment.acknowledge(batch.organization, upTo: newest)
                last = newest
            }
        }
    }
}
