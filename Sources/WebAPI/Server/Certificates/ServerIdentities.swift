import NIOCore
package import NIOSSL
import Synchronization

/// The certificates of a listener, and the authorities of its clients' certificates. Certificates and authorities can be replaced
/// while the listener runs; open connections are not affected.
package final class ServerIdentities: Sendable {
    private struct State {
        var main: WebAPI.Identity
        var hosts: [String: WebAPI.Identity]
        var isReplaced = false
        var authorities: [NIOSSLCertificate]
        /// How often the authorities were replaced by others.
        var authorityReloads = 0
    }

    private let state: Mutex<State>

    /// - Parameters:
    ///   - main: The certificate for clients that name no host, or a host without its own certificate.
    ///   - hosts: The certificates by host in lower case, for clients that name the host in the handshake (RFC 6066 section 3).
    ///   - clientAuthorities: The issuers of clients' certificates, if the limits require authorities.
    package init(
        _ main: WebAPI.Identity, hosts: [String: WebAPI.Identity], clientAuthorities: [NIOSSLCertificate] = []
    ) {
        state = Mutex(State(main: main, hosts: hosts, authorities: clientAuthorities))
    }

    /// Uses other certificates and authorities from the next connection on.
    package func replace(
        _ main: WebAPI.Identity, hosts: [String: WebAPI.Identity], clientAuthorities: [NIOSSLCertificate] = []
    ) {
        state.withLock { state in
            (state.main, state.hosts, state.isReplaced) = (main, hosts, true)
            guard state.authorities != clientAuthorities else { return }
            state.authorities = clientAuthorities
            state.authorityReloads += 1
        }
    }

    var clientAuthorities: [NIOSSLCertificate] { state.withLock(\.authorities) }

    /// How often the authorities were replaced by others.
    var authorityReloads: Int { state.withLock(\.authorityReloads) }

    /// The listener's TLS: versions 1.2 and 1.3.
    var configuration: TLSConfiguration {
        let main = state.withLock(\.main)
        var tls = TLSConfiguration.makeServerConfiguration(certificateChain: main.chain, privateKey: main.privateKey)
        tls.minimumTLSVersion = .tlsv12
        tls.sslContextCallback = { [self] values, promise in
            var override = NIOSSLContextConfigurationOverride()
            if let own = identity(for: values.serverHostname) {
                override.certificateChain = own.chain
                override.privateKey = own.privateKey
            }
            promise.succeed(override)
        }
        return tls
    }

    /// The certificate of a handshake; nil for the certificate that the listener started with.
    private func identity(for host: String?) -> WebAPI.Identity? {
        state.withLock { state in
            if !state.hosts.isEmpty, let host, let own = state.hosts[host.lowercased()] { return own }
            return state.isReplaced ? state.main : nil
        }
    }
}
