import Dispatch
import Foundation
import JSON
import Logging
import ServiceLifecycle
import UnixSignals

/// Reads the certificates again on SIGHUP, when a file was replaced, and every few seconds while the files can't be used. Open connections
/// are not affected.
struct CertificateReload: ServiceLifecycle.Service {
    let certificates: ServerCertificates
    let logger: Logger

    /// The time between two checks of the files.
    private static let interval = Duration.seconds(5)

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for await _ in await UnixSignalsSequence(trapping: .sighup) { await reload(evenIfUnchanged: true) }
                }
                group.addTask {
                    while !Task.isCancelled {
                        try await Task.sleep(for: Self.interval)
                        await reload(evenIfUnchanged: false)
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    /// Reads files on a thread that a slow file system may block.
    private func reload(evenIfUnchanged: Bool) async {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                if evenIfUnchanged || certificates.isDue { reload(isAsked: evenIfUnchanged) }
                continuation.resume()
            }
        }
    }

    /// - Parameter isAsked: Whether an operator asked for the reload by SIGHUP. After SIGHUP, the result is logged even if it is
    ///   the same as before.
    private func reload(isAsked: Bool) {
        let former = certificates.failure
        do {
            try certificates.reload()
            for certificate in certificates.current {
                logger.notice(
                    "certificate read",
                    metadata: ["file": "\(certificate.file)", "expires": "\(ISO8601.text(certificate.expiresOn))"])
            }
        } catch {
            guard isAsked || "\(error)" != former else { return }
            logger.error(
                "the certificates can't be read, and the former certificates stay in use until the files are corrected",
                metadata: ["error": "\(error)"])
        }
    }
}
