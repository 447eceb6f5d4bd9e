import ArgumentParser
import Authentication
import CellCrypto
import Console
import Diagnostics
import Email
import Foundation
import KeyManagement
import Logging
import NIOCore
import NIOPosix
import Organizations
import PostgresClient
import ServiceLifecycle
import Tenancy
import UnixSignals
import WebAPI

/// Tells other servers and commands that this server runs and which key-encryption keys it has.
struct Presence: ServiceLifecycle.Service {
    let deployment: Deployment

    func run() async throws {
        let server = ServerPresence(
            host: ProcessInfo.processInfo.hostName, version: Program.configuration.version, kekIDs: deployment.kek.ids)
        try? await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                try? await server.renew(deployment)
                try await Task.sleep(for: .seconds(ServerPresence.renewalSeconds))
            }
        }
        try? await server.end(deployment)
    }
}
