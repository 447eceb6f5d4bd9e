public import Tenancy

/// Limits on what a client may send.
public struct APILimits: Sendable {
    /// A request's body, in bytes.
    static let bodyLength = 1 << 20
    /// The body of a batch or of a request for many records, in bytes.
    static let bulkLength = 16 << 20
    /// A request line with its header block, in bytes.
    static let headLength = 64 << 10
    /// A URL, in bytes.
    static let urlLength = 32 << 10
    /// The URL of a request in a batch, in bytes.
    static let partURLLength = 64 << 10
    /// Values that a condition is compared with.
    static let valueCount = 2_000
    /// Requests of a batch, and records of a request for many.
    static let bulkCount = 1_000

    /// Seconds for a request's head to arrive.
    public var headSeconds = 10
    /// Seconds from the accept of a connection to the end of its TLS handshake; nil for ``headSeconds``.
    public var handshakeLimit: Int?
    /// Seconds for a request's body to arrive.
    public var bodySeconds = 30
    /// Seconds after which an idle connection is closed, and for a client to read a response.
    public var idleSeconds = 60
    /// Connections at a time; further ones wait.
    public var connections = 1_000
    /// Connections of one network at a time, an IPv4 address or an IPv6 /64; further ones are closed. Nil for a quarter of
    /// ``connections``, and 16 at least.
    public var addressConnections: Int?
    /// Networks of proxies: they may say whom they speak for, and have as many connections as there are.
    public var trustedProxies: [IPNetwork] = []
    /// Whether each connection of the HTTPS listener begins with a header of the PROXY protocol.
    public var takesProxyProtocol = false
    /// Requests at a time; further ones are answered with 503.
    public var requests = 500
    /// Requests of one client within ``clientSeconds``; nil for any number.
    public var clientRequests: Int?
    public var clientSeconds = 300
    /// Requests of one client at a time, and of one network without a token; nil for a quarter of ``requests``, and 16 at least.
    public var clientConcurrency: Int?
    /// Origins whose pages may use the API from a browser, such as `https://app.example.com`.
    public var allowedOrigins: [String] = []
    /// Whether passwords are released for mail servers that are spoken to without TLS.
    public var allowsPlaintextMail = false

    /// Which requests the log has.
    public var log = RequestLog()
    /// Whether clients may prove themselves with certificates in the TLS handshake.
    public var clientCertificates = ClientCertificates.off

    /// Which certificates clients may show.
    public enum ClientCertificates: Sendable {
        /// The listener asks for none.
        case off
        /// Any: a client is known by the very certificate that it was registered with.
        case selfSigned
        /// Those that an authority of ``WebAPI/server(host:port:identities:clientAuthorities:onRunning:)`` issued.
        case fromAuthority
    }

    public init() {}

    var handshakeSeconds: Int { handshakeLimit ?? headSeconds }
    var addressShare: Int { addressConnections ?? max(16, connections / 4) }
    var clientShare: Int { clientConcurrency ?? max(16, requests / 4) }
}
