import Foundation
import Logging
import MetricsFormat
import ServiceLifecycle
import Tenancy

/// Checks regularly whether the files of key-encryption keys can be read. A running server does not need these files, but the next
/// start does.
struct KeyFileWatch: ServiceLifecycle.Service {
    private struct KeyFile {
        /// The database's name; nil if there is one database.
        let database: String?
        let path: String
    }

    private let files: [KeyFile]
    private let logger: Logger

    /// The time between two checks.
    private static let interval = Duration.seconds(10)

    /// Nil if no key comes from a file.
    init?(_ settings: Settings, logger: Logger) {
        let all = settings.allDatabases
        files = all.compactMap { one in
            guard case .file(let path)? = try? settings.selecting(one).kekSource else { return nil }
            return KeyFile(database: all.count > 1 ? one.name : nil, path: path)
        }
        guard !files.isEmpty else { return nil }
        self.logger = logger
    }

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var known: [String: String] = [:]
            let paths = Set(files.map(\.path)).sorted()
            while !Task.isCancelled {
                for path in paths {
                    let problem = Self.problem(path)
                    if let problem, problem != known[path] {
                        logger.error(
                            "the key-encryption key can't be read any more: this server works on, and would not start again",
                            metadata: metadata(path, ["error": "\(problem)"]))
                    }
                    if problem == nil, known[path] != nil {
                        logger.notice("the key-encryption key can be read again", metadata: metadata(path))
                    }
                    known[path] = problem
                }
                try await Task.sleep(for: Self.interval)
            }
        }
    }

    func write(to text: inout MetricsText) {
        let samples = files.map { file in
            let value = Self.problem(file.path) == nil ? 1.0 : 0
            return file.database.map { MetricsText.Sample(["database": $0], value) } ?? MetricsText.Sample([:], value)
        }
        text.gauge(
            "fieldseal_kek_readable", "Whether the file of the key-encryption key can be read, which the next start needs.", samples
        )
    }

    /// Log metadata with the names of the databases whose key-encryption key is in the file at `path`.
    private func metadata(_ path: String, _ others: Logger.Metadata = [:]) -> Logger.Metadata {
        let names = files.filter { $0.path == path }.compactMap(\.database)
        return names.isEmpty ? others : others.merging(["databases": "\(names.joined(separator: ", "))"]) { first, _ in first }
    }

    private static func problem(_ path: String) -> String? {
        do {
            _ = try KeyEncryptionKeyFile.read(path)
            return nil
        } catch {
            return "\(error)"
        }
    }
}
