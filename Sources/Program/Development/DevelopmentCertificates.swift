import Crypto
import Foundation
import SwiftASN1
import X509

/// A certificate authority and a server certificate for `localhost`, only for development.
struct DevelopmentCertificates: Sendable {
    let home: DevelopmentHome

    /// Makes both certificates, unless they exist and are valid for another month. The authority's key is not stored.
    func prepare() throws {
        if let text = try? String(contentsOfFile: home.file("server.pem"), encoding: .utf8),
            FileManager.default.fileExists(atPath: home.file("server.key")),
            FileManager.default.fileExists(atPath: home.file("ca.pem")),
            let certificate = try? Certificate(pemEncoded: text),
            certificate.notValidAfter > Date().addingTimeInterval(30 * 86_400)
        {
            return
        }
        let authorityKey = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let authorityName = try DistinguishedName { CommonName("Fieldseal development CA") }
        let authority = try certificate(
            subject: authorityName, issuer: authorityName, key: authorityKey.publicKey, signedBy: authorityKey,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
            })
        let serverKey = P256.Signing.PrivateKey()
        let server = try certificate(
            subject: try DistinguishedName { CommonName("localhost") }, issuer: authorityName,
            key: Certificate.PrivateKey(serverKey).publicKey, signedBy: authorityKey,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames([
                    .dnsName("localhost"), .ipAddress(ASN1OctetString(contentBytes: [127, 0, 0, 1])),
                    .ipAddress(ASN1OctetString(contentBytes: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
                ])
            })
        try home.write(serverKey.pemRepresentation, to: "server.key")
        try home.write(try server.serializeAsPEM().pemString, to: "server.pem")
        try home.write(try authority.serializeAsPEM().pemString, to: "ca.pem")
        // Every user of the machine may read the authority's certificate.
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: home.file("ca.pem"))
    }

    private func certificate(
        subject: DistinguishedName,
        issuer: DistinguishedName,
        key: Certificate.PublicKey,
        signedBy signer: Certificate.PrivateKey,
        extensions: Certificate.Extensions
    ) throws -> Certificate {
        try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key,
            notValidBefore: Date().addingTimeInterval(-3_600), notValidAfter: Date().addingTimeInterval(397 * 86_400),
            issuer: issuer, subject: subject, signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions,
            issuerPrivateKey: signer)
    }
}
