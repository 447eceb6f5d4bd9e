import CellCrypto
import Crypto
import CryptoExtras
package import Foundation
import Model
import SwiftASN1
import X509

/// A public key of a client.
package struct ClientKey: Sendable {
    /// The key as a SubjectPublicKeyInfo in DER (RFC 5280 section 4.1).
    let der: [UInt8]
    /// When the key's certificate expires; nil for a bare key.
    package let expiresOn: Date?
    /// SHA-256 of the key's certificate; nil for a bare key.
    let certificateHash: [UInt8]?
    /// The use of the key.
    package var use = Use.assertions
    private let key: Key

    /// How a client proves possession of the private key.
    package enum Use: Sendable {
        /// By assertions that the client signs (RFC 7523).
        case assertions
        /// By its certificate in the TLS handshake (RFC 8705). Tokens may be bound to the certificate.
        case tls(bindsTokens: Bool)
    }

    private enum Key: Sendable {
        case rsa(_RSA.Signing.PublicKey)
        case p256(P256.Signing.PublicKey)
        case p384(P384.Signing.PublicKey)
        case p521(P521.Signing.PublicKey)
    }

    /// The allowed lengths of an RSA key in bits. Verifying a signature of a longer key would take the server too long.
    private static let rsaBits = 2_048...8_192

    /// Parses a public key or a certificate in PEM.
    ///
    /// - Throws: ``FieldsealError`` that says what the text is instead.
    package init(pem text: String) throws {
        guard !text.contains("PRIVATE KEY-----") else {
            throw FieldsealError(
                .invalidArgument,
                "The file holds a private key. Give the public key or the certificate; the private key stays with the client.")
        }
        do {
            if text.contains("-----BEGIN CERTIFICATE-----") {
                // In a chain, the first certificate is the client's own.
                let certificate = try Certificate(pemDocument: try PEMDocument.parseMultiple(pemString: text)[0])
                var serializer = DER.Serializer()
                try serializer.serialize(certificate)
                try self.init(
                    der: certificate.publicKey.serializeAsPEM().derBytes, expiresOn: certificate.notValidAfter,
                    certificateHash: Array(SHA256.hash(data: serializer.serializedBytes)))
            } else {
                try self.init(der: PEMDocument(pemString: text).derBytes, expiresOn: nil)
            }
        } catch let error as FieldsealError {
            throw error
        } catch {
            throw Self.unusable
        }
    }

    /// - Throws: ``FieldsealError`` for a key of another kind or length.
    init(der: [UInt8], expiresOn: Date?, certificateHash: [UInt8]? = nil) throws {
        self.der = der
        self.certificateHash = certificateHash
        self.expiresOn = expiresOn
        if let key = try? P256.Signing.PublicKey(derRepresentation: der) {
            self.key = .p256(key)
        } else if let key = try? P384.Signing.PublicKey(derRepresentation: der) {
            self.key = .p384(key)
        } else if let key = try? P521.Signing.PublicKey(derRepresentation: der) {
            self.key = .p521(key)
        } else if let key = try? _RSA.Signing.PublicKey(derRepresentation: der), Self.rsaBits.contains(key.keySizeInBits) {
            self.key = .rsa(key)
        } else {
            throw Self.unusable
        }
    }

    private static let unusable = FieldsealError(
        .invalidArgument,
        "The file holds no public key that can be used. It must hold a public key or a certificate in PEM, with RSA of "
            + "\(rsaBits.lowerBound) to \(rsaBits.upperBound) bits or the curve P-256, P-384 or P-521.")

    /// Parses the certificate, in PEM, that a client presents in the TLS handshake.
    ///
    /// - Parameter bindsTokens: Whether tokens are valid only on connections with the certificate.
    /// - Throws: ``FieldsealError`` that says what the text is instead.
    package static func certificate(pem text: String, bindsTokens: Bool) throws -> ClientKey {
        var key = try ClientKey(pem: text)
        guard key.certificateHash != nil else {
            throw FieldsealError(
                .invalidArgument,
                "The file holds a public key and no certificate. To authenticate in the TLS handshake, a client needs a "
                    + "certificate."
            )
        }
        key.use = .tls(bindsTokens: bindsTokens)
        return key
    }

    /// The type of the key, for lists.
    package var kind: String {
        switch key {
        case .rsa(let key): "RSA \(key.keySizeInBits)"
        case .p256: "P-256"
        case .p384: "P-384"
        case .p521: "P-521"
        }
    }

    /// SHA-256 of the key, as lists show it.
    package var fingerprint: String { hexadecimal(SHA256.hash(data: der)) }

    /// Whether the private key made a signature of `message` with this algorithm. The algorithm must match the key's type.
    func verifies(_ signature: [UInt8], of message: [UInt8], by algorithm: SignatureAlgorithm) -> Bool {
        switch (key, algorithm.scheme) {
        case (.rsa(let key), .pkcs1): verifies(signature, of: message, key, .insecurePKCS1v1_5, algorithm.digest)
        case (.rsa(let key), .pss): verifies(signature, of: message, key, .PSS, algorithm.digest)
        case (.p256(let key), .ecdsa) where algorithm.digest == .sha256:
            (try? P256.Signing.ECDSASignature(rawRepresentation: signature))
                .map { key.isValidSignature($0, for: SHA256.hash(data: message)) } ?? false
        case (.p384(let key), .ecdsa) where algorithm.digest == .sha384:
            (try? P384.Signing.ECDSASignature(rawRepresentation: signature))
                .map { key.isValidSignature($0, for: SHA384.hash(data: message)) } ?? false
        case (.p521(let key), .ecdsa) where algorithm.digest == .sha512:
            (try? P521.Signing.ECDSASignature(rawRepresentation: signature))
                .map { key.isValidSignature($0, for: SHA512.hash(data: message)) } ?? false
        default: false
        }
    }

    private func verifies(
        _ signature: [UInt8], of message: [UInt8], _ key: _RSA.Signing.PublicKey, _ padding: _RSA.Signing.Padding,
        _ digest: SignatureAlgorithm.Digest
    ) -> Bool {
        let signature = _RSA.Signing.RSASignature(rawRepresentation: signature)
        return switch digest {
        case .sha256: key.isValidSignature(signature, for: SHA256.hash(data: message), padding: padding)
        case .sha384: key.isValidSignature(signature, for: SHA384.hash(data: message), padding: padding)
        case .sha512: key.isValidSignature(signature, for: SHA512.hash(data: message), padding: padding)
        }
    }
}
