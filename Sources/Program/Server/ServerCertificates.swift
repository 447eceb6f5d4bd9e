import Foundation
import MetricsFormat
import Synchronization
import Tenancy
import WebAPI

/// All certificates of a server, as they were read last.
final class ServerCertificates: Sendable {
    /// The certificates of the HTTPS listener, and the authorities of its clients' certificates.
    let identities: ServerIdentities
    private let settings: Settings
    private let state: Mutex<State>

    private struct State {
        var certificates: [ServerCertificate]
        /// The states of the files when they were read last.
        var marks: [FileStatus?]
        /// Why the files could not be used at that time; nil if they could.
        var failure: String?
    }

    /// Reads all files.
    ///
    /// - Throws: ``ServerCertificate/Problem``.
    init(_ settings: Settings) throws {
        let marks = Self.marks(settings)
        let (main, hosts) = (try ServerCertificate(settings), try ServerCertificate.ofHosts(settings))
        self.settings = settings
        identities = ServerIdentities(
            main.identity, hosts: hosts.mapValues(\.identity),
            clientAuthorities: try ServerCertificate.clientAuthorities(settings))
        state = Mutex(State(certificates: [main] + hosts.values, marks: marks))
    }

    /// The certificates in use.
    var current: [ServerCertificate] { state.withLock(\.certificates) }

    /// Whether to read the files again: a file was changed or replaced since the last reading, or the files could not be used.
    var isDue: Bool {
        let (former, failure) = state.withLock { ($0.marks, $0.failure) }
        return failure != nil || Self.marks(settings) != former
    }

    /// Why the files could not be used at the last reading; nil if they could.
    var failure: String? { state.withLock(\.failure) }

    /// Reads the files again. If one file can't be used, the certificates in use stay.
    ///
    /// - Throws: ``ServerCertificate/Problem``.
    func reload() throws {
        let marks = Self.marks(settings)
        do {
            let (main, hosts) = (try ServerCertificate(settings), try ServerCertificate.ofHosts(settings))
            let authorities = try ServerCertificate.clientAuthorities(settings)
            identities.replace(main.identity, hosts: hosts.mapValues(\.identity), clientAuthorities: authorities)
            state.withLock { $0 = State(certificates: [main] + hosts.values, marks: marks) }
        } catch {
            state.withLock { ($0.marks, $0.failure) = (marks, "\(error)") }
            throw error
        }
    }

    /// Adds the expiry of each certificate.
    func write(to text: inout MetricsText) {
        text.gauge(
            "fieldseal_certificate_expiry_timestamp_seconds", "When a certificate that the server shows expires.",
            current.map { .init(["file": $0.file], $0.expiresOn.timeIntervalSince1970) })
    }

    /// The states of the files, which show a change. Links are followed, because renewals often replace a link.
    private static func marks(_ settings: Settings) -> [FileStatus?] {
        let files =
            [settings.certificateFile, settings.privateKeyFile] + settings.hostCertificateFiles.values.sorted()
            + settings.hostPrivateKeyFiles.values.sorted() + (settings.clientAuthorityFile.map { [$0] } ?? [])
        return files.map { FileStatus(path: $0) }
    }
}

extension ServerCertificate {
    /// The certificates of a listener.
    var identity: WebAPI.Identity { WebAPI.Identity(chain: chain, privateKey: privateKey) }
}
