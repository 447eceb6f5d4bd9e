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

/// Wakes routers' requests that wait for work, and ends them before the servers stop.
struct WorkNotices: ServiceLifecycle.Service {
    let mail: MailService
    let conninfo: String

    func run() async throws {
        await withGracefulShutdownHandler {
            await mail.work.run(conninfo: conninfo)
        } onGracefulShutdown: {
            mail.work.close()
        }
    }
}
