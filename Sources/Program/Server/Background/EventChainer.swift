import Logging
import ServiceLifecycle
import Tenancy

/// Once a second, links pending security events into the event chains, and reads attested states.
struct EventChainer: ServiceLifecycle.Service {
    let deployment: Deployment
    let logger: Logger

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var watch = AttestationWatch(deployment)
            while !Task.isCancelled {
                await chain()
                try? await watch.poll()
                try await Task.sleep(for: .seconds(1))
            }
        }
        // Links the events that were recorded in the last second before the service stopped.
        await chain()
    }

    private func chain() async {
        await deployment.chainPendingEvents(by: commandLineCaller) { organization, error in
            logger.warning(
                "security events could not be linked into the chain",
                metadata: ["organization": .string(organization), "error": "\(error)"])
        }
    }
}
