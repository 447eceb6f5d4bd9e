import Foundation
import Glibc
import ServiceLifecycle

/// Tells systemd that the program is alive, from the threads that serve requests. At the end, tells it that the program is
/// stopping.
struct SystemdWatchdog: ServiceLifecycle.Service {
    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                if SystemdNotice.interval != nil { SystemdNotice.alive.send() }
                try await Task.sleep(for: SystemdNotice.interval ?? .seconds(3_600))
            }
        }
        SystemdNotice.stopping.send()
    }
}
