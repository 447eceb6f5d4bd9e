import PostgresClient
import ServiceLifecycle

/// Detects whether the standby responds.
struct StandbyWatch: ServiceLifecycle.Service {
    let standby: Standby

    func run() async throws { await cancelWhenGracefulShutdown { await standby.run() } }
}
