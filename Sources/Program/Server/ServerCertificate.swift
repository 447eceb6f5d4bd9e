import Foundation
import NIOSSL
import SwiftASN1
import X509

/// The service's certificate and private key.
struct ServerCertificate {
    let chain: [NIOSSLCertificate]
    let privateKey: NIOSSLPrivateKey
    /// The expiry of the first certificate of the chain.
    let expiresOn: Date
    /// The file with the chain.
    let file: String
    /// The names that the first certificate is for: hosts, and addresses of IPv4.
    let names: [String]

    /// The reason for which the files can't be used. The description of the problem names the file.
    enum Problem: Error, CustomStringConvertible {
        case unnamed(String)
        case unreadable(String, String)
        case noCertificate(String)
        case noKey(String)
        case mismatch(certificate: String, key: String)
        case half(String)

        var description: String {
            switch self {
            case .unnamed(let setting): "the settings name no file in \(setting)"
            case .unreadable(let path, let reason): "\(path) can't be read: \(reason)"
            case .noCertificate(let path): "\(path) holds no certificate in PEM"
            case .noKey(let path): "\(path) holds no private key in PEM, or one that a passphrase protects"
            case .half(let host):
                "https.hostCertificateFiles and https.hostPrivateKeyFiles must name the same hosts, and one of them lacks \(host)"
            case .mismatch(let certificate, let key): "the private key \(key) does not belong to the certificate \(certificate)"
            }
        }
    }

    /// Reads both files, and checks that they belong together.
    ///
    /// - Throws: ``Problem``.
    init(_ settings: Settings) throws {
        try self.init(settings.certificateFile, settings.privateKeyFile)
    }

    /// The certificates of single hosts, for clients that name one in the handshake (RFC 6066 section 3).
    ///
    /// - Throws: ``Problem``.
    static func ofHosts(_ settings: Settings) throws -> [String: ServerCertificate] {
        let (certificates, keys) = (settings.hostCertificateFiles, settings.hostPrivateKeyFiles)
        for host in Set(certificates.keys).symmetricDifference(keys.keys).sorted() { throw Problem.half(host) }
        var all: [String: ServerCertificate] = [:]
        for (host, file) in certificates { all[host] = try ServerCertificate(file, keys[host] ?? "") }
        return all
    }

    private init(_ certificateFile: String, _ keyFile: String) throws {
        file = certificateFile
        let text = try Self.contents(certificateFile, "https.certificateFile")
        let key = try Self.contents(keyFile, "https.privateKeyFile")
        guard let chain = try? NIOSSLCertificate.fromPEMBytes(Array(text.utf8)), !chain.isEmpty,
            let first = try? Certificate(pemEncoded: Self.firstBlock(text))
        else { throw Problem.noCertificate(certificateFile) }
        guard let privateKey = try? NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem) else { throw Problem.noKey(keyFile) }
        let configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(privateKey))
        guard (try? NIOSSLContext(configuration: configuration)) != nil else {
            throw Problem.mismatch(certificate: certificateFile, key: keyFile)
        }
        (self.chain, self.privateKey, expiresOn) = (chain, privateKey, first.notValidAfter)
        names = Self.names(of: first)
    }

    private static func names(of certificate: Certificate) -> [String] {
        let names = (try? certificate.extensions.subjectAlternativeNames).map { Array($0) } ?? []
        return names.compactMap { name -> String? in
            switch name {
            case .dnsName(let host): host.lowercased()
            case .ipAddress(let bytes) where bytes.bytes.count == 4: bytes.bytes.map { "\($0)" }.joined(separator: ".")
            default: nil
            }
        }
    }

    /// Whether the certificate is for a host, by its name or by a wildcard for its first label (RFC 6125).
    func isFor(_ host: String) -> Bool {
        let parent = host.drop { $0 != "." }
        return names.contains { $0 == host || $0.hasPrefix("*.") && $0.dropFirst() == parent }
    }

    /// The CA certificates for clients' certificates.
    ///
    /// - Throws: ``Problem``.
    static func clientAuthorities(_ settings: Settings) throws -> [NIOSSLCertificate] {
        guard let file = settings.clientAuthorityFile else { return [] }
        let text = try contents(file, "https.clientAuthorityFile")
        guard let authorities = try? NIOSSLCertificate.fromPEMBytes(Array(text.utf8)), !authorities.isEmpty else {
            throw Problem.noCertificate(file)
        }
        return authorities
    }

    private static func contents(_ path: String, _ setting: String) throws(Problem) -> String {
        guard !path.isEmpty else { throw .unnamed(setting) }
        guard FileManager.default.fileExists(atPath: path) else { throw .unreadable(path, "there is no such file") }
        guard FileManager.default.isReadableFile(atPath: path) else { throw .unreadable(path, "permission denied") }
        do {
            return try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw .unreadable(path, "it is not text")
        }
    }

    private static func firstBlock(_ text: String) -> String {
        let end = "-----END CERTIFICATE-----"
        return text.firstRange(of: end).map { String(text[..<$0.upperBound]) } ?? text
    }
}
