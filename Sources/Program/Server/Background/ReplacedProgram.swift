import Foundation
import Logging
import ServiceLifecycle

/// Logs once that the program's file was replaced or removed while it runs: an update is in force only after a restart.
struct ReplacedProgram: ServiceLifecycle.Service {
    let logger: Logger

    /// The time between two checks.
    private static let interval = Duration.seconds(10)

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while !Self.isReplaced { try await Task.sleep(for: Self.interval) }
            logger.warning("the program was replaced, and the former one runs until the next restart")
            // If `run` returned, the service group would stop all other services. So this service waits for the shutdown.
            while !Task.isCancelled { try await Task.sleep(for: .seconds(3_600)) }
        }
    }

    /// Linux appends this word to the path of a program whose file was deleted, or replaced by another file.
    private static var isReplaced: Bool {
        let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return path?.hasSuffix(" (deleted)") == true
    }
}
