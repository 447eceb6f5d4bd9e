import Authentication
import Logging
import Organizations
import ServiceLifecycle
import Tenancy

/// Drops what interrupted key changes and long transactions left. Runs at the start and every 15 seconds, in organizations that may
/// have something to sweep.
struct Sweeper: ServiceLifecycle.Service {
    let deployment: Deployment
    let logger: Logger

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var failures = FailureLog("the sweep of remains of key changes failed", logger: logger)
            // The first sweep also includes organizations that were swept just now: the server that swept them may have been killed
            // meanwhile.
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
