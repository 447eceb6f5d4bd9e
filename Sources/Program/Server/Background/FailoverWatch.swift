import ArgumentParser
import Authentication
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

/// Detects that another server became the primary.
struct FailoverWatch: ServiceLifecycle.Service {
    let watch: PrimaryWatch

    func run() async throws { await cancelWhenGracefulShutdown { await watch.run() } }
}
