import Logging
import ServiceLifecycle
import Tenancy

/// Logs which organizations a server refuses because their attested state does not verify. Writes one line when a problem begins,
/// and one line when the problem ends.
struct RefusalLog: ServiceLifecycle.Service {
    let deployment: Deployment
    let logger: Logger

    func run() async throws {
        for await report in deployment.stateRefusals.reports.cancelOnGracefulShutdown() {
            if let problem = report.problem {
                logger.error(
                    "organization refused",
                    metadata: ["organization": "\(report.organization)", "error": "\(problem.description)"])
            } else {
                logger.notice("organization served again", metadata: ["organization": "\(report.organization)"])
            }
        }
    }
}
