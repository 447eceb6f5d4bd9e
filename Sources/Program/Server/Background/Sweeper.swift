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
            // The first sweep includes organizations that were swept just now. A server that was killed after that sweep may
            // have left something.
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
