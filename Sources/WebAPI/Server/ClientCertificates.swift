import HummingbirdHTTP2
import NIOCore
import NIOSSL

extension APILimits.ClientCertificates {
    /// The TLS of a listener that asks for certificates of clients, and serves those without one too.
    ///
    /// Whether a certificate is a client's decides the token endpoint. So a certificate that no authority vouches for is let through
    /// where there are no authorities, and gives nothing by itself.
    func channel(_ configuration: TLSConfiguration, _ authorities: [NIOSSLCertificate]) -> TLSChannelConfiguration {
        var configuration = configuration
        switch self {
        case .off: return TLSChannelConfiguration(tlsConfiguration: configuration)
        case .selfSigned:
            configuration.certificateVerification = .optionalVerification
            return TLSChannelConfiguration(tlsConfiguration: configuration) { _, promise in promise.succeed(.certificateVerified) }
        case .fromAuthority:
            configuration.certificateVerification = .optionalVerification
            configuration.trustRoots = .certificates(authorities)
            configuration.sendCANameList = true
            return TLSChannelConfiguration(tlsConfiguration: configuration)
        }
    }
}
