import ArgumentParser
import CellCrypto
import Foundation
import Logging
import Organizations
import ServiceLifecycle
import Tenancy

/// Tells other servers and commands that this server runs and which key-encryption keys it has.
struct Presence: ServiceLifecycle.Service {
    let deployment: Deployment
    let logger: Logger

    func run() async throws {
        let server = ServerPresence(
            host: ProcessInfo.processInfo.hostName, version: Program.configuration.version, kekIDs: deployment.kek.ids)
        try? await cancelWhenGracefulShutdown {
            var failures = FailureLog("this server could not announce itself to other servers", logger: logger)
            while !Task.isCancelled {
                do {
                    try await server.renew(deployment)
                    failures.note(nil)
                } catch {
                    failures.note(error)
                }
                try await Task.sleep(for: .seconds(ServerPresence.renewalSeconds))
            }
        }
        // If the server's row can't be deleted, other servers ignore it within a minute.
        try? await server.end(deployment)
    }
}
