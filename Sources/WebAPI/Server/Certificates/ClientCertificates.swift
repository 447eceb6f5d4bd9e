import HummingbirdHTTP2
import NIOCore
import NIOSSL

extension APILimits.ClientCertificates {
    /// The TLS of a listener that requests certificates of clients, and accepts clients without one.
    ///
    /// The token endpoint decides whether a certificate belongs to a client. So without configured authorities, any certificate is
    /// accepted, and grants nothing by itself.
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
