import Foundation
import ServiceLifecycle
import Subprocess
import SystemPackage

/// The router of a development service, as a separate process. The router ends before the service.
struct RouterProcess: ServiceLifecycle.Service {
    func run() async throws {
        var options = PlatformOptions()
        options.teardownSequence = [.send(signal: .terminate, allowedDurationToNextStep: .seconds(10))]
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let prepared = options
        try await cancelWhenGracefulShutdown {
            do {
                _ = try await Subprocess.run(
                    .path(FilePath(program)), arguments: ["router", "--with-parent", "--interval", "5"], platformOptions: prepared,
                    output: .fileDescriptor(.standardOutput, closeAfterSpawningProcess: false),
                    error: .fileDescriptor(.standardError, closeAfterSpawningProcess: false))
            } catch is CancellationError {}
            // If the router ends, the service continues without it.
            try? await gracefulShutdown()
        }
    }
}
