import CellCrypto
import Foundation
import NIOCore
import NIOSSL

/// The certificate that a client showed in the TLS handshake of its connection.
enum PeerCertificate {
    /// SHA-256 of the certificate in DER, the `x5t#S256` of RFC 8705; nil for a connection without a certificate.
    ///
    /// - Parameter channel: The connection, or a stream of HTTP/2 on it.
    static func digest(on channel: any Channel) async -> [UInt8]? {
        for candidate in [channel, channel.parent].compactMap({ $0 }) {
            let bytes = try? await candidate.eventLoop.submit { () -> [UInt8]? in
                let tls = try? candidate.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self)
                guard let certificate = tls?.peerCertificate else { return nil }
                // The end of the certificate's validity is checked against the client's registration. A certificate that is not
                // valid yet proves nothing.
                guard Double(certificate.notValidBefore) <= Date().timeIntervalSince1970 else { return nil }
                return try certificate.toDERBytes()
            }.get()
            if let bytes = bytes.flatMap({ $0 }) { return try? sha256(bytes) }
        }
        return nil
    }
}
