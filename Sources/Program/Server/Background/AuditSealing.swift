import ServiceLifecycle
import Tenancy

/// Seals new entries of the audit, about once a minute.
struct AuditSealing: ServiceLifecycle.Service {
    let deployment: Deployment
    /// Between two turns.
    let seconds: Int

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                try await Task.sleep(for: .seconds(seconds))
                // What another server sealed lately is left to it.
                await deployment.sealAudits(by: commandLineCaller, restingFor: seconds / 2)
            }
        }
    }
}
