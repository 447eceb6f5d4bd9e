import NIOCore
import NIOSSL
import Synchronization

/// The certificates that a listener shows in TLS handshakes. They can be replaced while it runs: connections that are open stay.
public final class ServerIdentities: Sendable {
    private struct State {
        var main: WebAPI.Identity
        var hosts: [String: WebAPI.Identity]
        var isReplaced = false
    }

    private let state: Mutex<State>

    /// - Parameters:
    ///   - main: For clients that name no host, or a host without a certificate of its own.
    ///   - hosts: For clients that name one of these hosts, in lower case, in the handshake (RFC 6066 section 3).
    public init(_ main: WebAPI.Identity, hosts: [String: WebAPI.Identity]) {
        state = Mutex(State(main: main, hosts: hosts))
    }

    /// Shows other certificates from the next handshake on.
    public func replace(_ main: WebAPI.Identity, hosts: [String: WebAPI.Identity]) {
        state.withLock { $0 = State(main: main, hosts: hosts, isReplaced: true) }
    }

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

    /// What a handshake shows; nil for what the listener was started with.
    private func identity(for host: String?) -> WebAPI.Identity? {
        state.withLock { state in
            if !state.hosts.isEmpty, let host, let own = state.hosts[host.lowercased()] { return own }
            return state.isReplaced ? state.main : nil
        }
    }
}
