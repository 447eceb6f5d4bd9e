import Foundation
import MetricsFormat
import Synchronization
import WebAPI

/// All certificates of a server, as they were last read.
final class ServerCertificates: Sendable {
    /// What the HTTPS listener shows.
    let identities: ServerIdentities
    private let settings: Settings
    private let state: Mutex<State>

    private struct State {
        var certificates: [ServerCertificate]
        /// How the files looked when they were last tried.
        var marks: [String]
    }

    /// Reads all files.
    ///
    /// - Throws: ``ServerCertificate/Problem``.
    init(_ settings: Settings) throws {
        let marks = Self.marks(settings)
        let (main, hosts) = (try ServerCertificate(settings), try ServerCertificate.ofHosts(settings))
        self.settings = settings
        identities = ServerIdentities(main.identity, hosts: hosts.mapValues(\.identity))
        state = Mutex(State(certificates: [main] + hosts.values, marks: marks))
    }

    /// The certificates in use.
    var current: [ServerCertificate] { state.withLock(\.certificates) }

    /// Whether a file was changed or replaced since it was last tried.
    var isChanged: Bool { Self.marks(settings) != state.withLock(\.marks) }

    /// Reads the files again. When one of them can't be used, the certificates in use stay.
    ///
    /// - Throws: ``ServerCertificate/Problem``.
    func reload() throws {
        let marks = Self.marks(settings)
        state.withLock { $0.marks = marks }
        let (main, hosts) = (try ServerCertificate(settings), try ServerCertificate.ofHosts(settings))
        identities.replace(main.identity, hosts: hosts.mapValues(\.identity))
        state.withLock { $0.certificates = [main] + hosts.values }
    }

    /// Adds when each certificate expires.
    func write(to text: inout MetricsText) {
        text.gauge(
            "fieldseal_certificate_expiry_timestamp_seconds", "When a certificate that the server shows expires.",
            current.map { .init(["file": $0.file], $0.expiresOn.timeIntervalSince1970) })
    }

    /// What a file's name, size, time and number show of a change. Links are followed: renewals often replace a link.
    private static func marks(_ settings: Settings) -> [String] {
        let files =
            [settings.certificateFile, settings.privateKeyFile] + settings.hostCertificateFiles.values.sorted()
            + settings.hostPrivateKeyFiles.values.sorted()
        return files.map { file in
            let target = URL(filePath: file).resolvingSymlinksInPath().path
            guard let status = try? FileManager.default.attributesOfItem(atPath: target) else { return "\(file) missing" }
            let changed = (status[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
            return "\(target) \(status[.systemFileNumber] ?? 0) \(status[.size] ?? 0) \(changed)"
        }
    }
}

extension ServerCertificate {
    /// What a listener shows.
    var identity: WebAPI.Identity { WebAPI.Identity(chain: chain, privateKey: privateKey) }
}
