import PostgresClient
import ServiceLifecycle

/// Detects that another server became the primary.
struct FailoverWatch: ServiceLifecycle.Service {
    let watch: PrimaryWatch

    func run() async throws { await cancelWhenGracefulShutdown { await watch.run() } }
}
