import Email
import ServiceLifecycle

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
