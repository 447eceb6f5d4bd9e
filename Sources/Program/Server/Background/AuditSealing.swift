import Logging
import ServiceLifecycle
import Tenancy

/// Seals new entries of the audit, about once a minute.
struct AuditSealing: ServiceLifecycle.Service {
    let deployment: Deployment
    /// Seconds between two runs.
    let seconds: Int
    let logger: Logger

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var turns = AuditTurns()
            while !Task.isCancelled {
                try await Task.sleep(for: .seconds(seconds))
                for notice in await turns.seal(in: deployment, by: commandLineCaller, each: seconds) { log(notice) }
            }
        }
    }

    private func log(_ notice: AuditTurns.Notice) {
        let organization = Logger.MetadataValue.string(notice.organization)
        if let reason = notice.reason {
            logger.error("audit not sealed", metadata: ["organization": organization, "error": "\(reason)"])
        } else {
            logger.notice("audit sealed again", metadata: ["organization": organization])
        }
    }
}
