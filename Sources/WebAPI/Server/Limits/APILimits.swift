package import Tenancy

/// Limits for requests and connections of clients.
package struct APILimits: Sendable {
    /// The largest body of a request, in bytes.
    static let bodyLength = 1 << 20
    /// The largest body of a batch or of a request for many records, in bytes.
    static let bulkLength = 16 << 20
    /// The longest request line with its header block, in bytes.
    static let headLength = 64 << 10
    /// The longest URL, in bytes.
    static let urlLength = 32 << 10
    /// The longest URL of a request in a batch, in bytes.
    static let partURLLength = 64 << 10
    /// How many values a condition has at most.
    static let valueCount = 2_000
    /// How many requests a batch has at most, and how many records a request for many records has at most.
    static let bulkCount = 1_000
    /// Seconds for which running requests may continue while the server stops.
    package static let endSeconds = 60

    /// Seconds within which a request's head must arrive.
    package var headSeconds = 10
    /// Seconds from accepting a connection to the end of its TLS handshake; nil for ``headSeconds``.
    package var handshakeLimit: Int?
    /// Seconds within which a request's body must arrive.
    package var bodySeconds = 30
    /// Seconds after which an idle connection is closed, and within which a client must read a response.
    package var idleSeconds = 60
    /// How many connections are open at a time. Further connections wait.
    package var connections = 1_000
    /// How many connections one network has at a time. A network is an IPv4 address or an IPv6 /64. Further connections are closed.
    /// Nil means a quarter of ``connections``, but at least 16.
    package var addressConnections: Int?
    /// Networks of trusted proxies. Trusted proxies may report the client's address, and their connections are not limited.
    package var trustedProxies: [IPNetwork] = []
    /// Whether each connection of the HTTPS listener begins with a header of the PROXY protocol.
    package var takesProxyProtocol = false
    /// How many requests are processed at a time. Further requests get 503.
    package var requests = 500
    /// How many requests one client may send within ``clientSeconds``; nil for no limit.
    package var clientRequests: Int?
    package var clientSeconds = 300
    /// How many requests of one client, or of one network without a token, are processed at a time; nil means a quarter of
    /// ``requests``, but at least 16.
    package var clientConcurrency: Int?
    /// Origins of pages that may use the API from a browser, such as `https://app.example.com`.
    package var allowedOrigins: [String] = []
    /// Whether passwords are released for mail servers without TLS.
    package var allowsPlaintextMail = false

    /// Which requests are logged.
    package var log = RequestLog()
    /// Whether clients may authenticate with certificates in the TLS handshake.
    package var clientCertificates = ClientCertificates.off

    /// The certificates that the listener accepts from clients.
    package enum ClientCertificates: Sendable {
        /// The listener requests no certificates.
        case off
        /// Any certificate. A client is identified by the certificate that it was registered with.
        case selfSigned
        /// Certificates of the authorities in the listener's ``ServerIdentities``.
        case fromAuthority
    }

    package init() {}

    var handshakeSeconds: Int { handshakeLimit ?? headSeconds }
    var addressShare: Int { addressConnections ?? max(16, connections / 4) }
    var clientShare: Int { clientConcurrency ?? max(16, requests / 4) }
}
