import Authentication
import Logging
import Organizations
import ServiceLifecycle
import Tenancy

/// Drops what interrupted key changes and long transactions left. Runs at the start and every 15 seconds, in organizations that
/// may have such remains.
struct Sweeper: ServiceLifecycle.Service {
    let deployment: Deployment
    let logger: Logger

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var failures = FailureLog("remains of key changes not swept", logger: logger)
            // No rest at first: a server that swept an organization just now may have left something there when it was killed.
            var rest = Duration.zero
            while !Task.isCancelled {
                await deployment.sweepLimits()
                await deployment.sweepOrganizations(by: commandLineCaller, restingFor: rest) { failures.note($1, of: $0) }
                rest = Deployment.sweepInterval
                try await Task.sleep(for: Deployment.sweepInterval)
            }
        }
    }
}
