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

/// Drops what interrupted key changes and long transactions left. Runs at the start and every 15 seconds, in organizations that
/// may have such remains.
struct Sweeper: ServiceLifecycle.Service {
    let deployment: Deployment

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            // No rest at first: a server that swept an organization just now may have left something there when it was killed.
            var rest = Duration.zero
            while !Task.isCancelled {
                await deployment.sweepLimits()
                await deployment.sweepOrganizations(by: commandLineCaller, restingFor: rest)
                rest = Deployment.sweepInterval
                try await Task.sleep(for: Deployment.sweepInterval)
            }
        }
    }
}
