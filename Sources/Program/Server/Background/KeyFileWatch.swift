import Foundation
import Logging
import MetricsFormat
import ServiceLifecycle
import Tenancy

/// Checks regularly whether the file of the key-encryption key can be read. A running server does not need the file, but the next
/// start does.
struct KeyFileWatch: ServiceLifecycle.Service {
    let path: String
    let logger: Logger

    /// The time between two checks.
    private static let interval = Duration.seconds(10)

    /// Nil if the key does not come from a file.
    init?(_ settings: Settings, logger: Logger) {
        guard case .file(let path)? = try? settings.kekSource else { return nil }
        (self.path, self.logger) = (path, logger)
    }

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var known: String?
            while !Task.isCancelled {
                let problem = problem
                if let problem, problem != known {
                    logger.error(
                        "the key-encryption key can't be read any more: this server works on, and would not start again",
                        metadata: ["error": "\(problem)"])
                }
                if problem == nil, known != nil { logger.notice("the key-encryption key can be read again") }
                known = problem
                try await Task.sleep(for: Self.interval)
            }
        }
    }

    func write(to text: inout MetricsText) {
        text.gauge(
            "fieldseal_kek_readable", "Whether the file of the key-encryption key can be read, which the next start needs.",
            [.init([:], problem == nil ? 1 : 0)])
    }

    private var problem: String? {
        do {
            _ = try KeyEncryptionKeyFile.read(path)
            return nil
        } catch {
            return "\(error)"
        }
    }
}
