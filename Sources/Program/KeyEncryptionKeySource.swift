import CellCrypto
import Foundation
import Tenancy

/// Where a key-encryption key comes from.
enum KeyEncryptionKeySource {
    case file(String)
    /// A credential of systemd: a file in `$CREDENTIALS_DIRECTORY`.
    case credential(String)
    /// A program, whose output is the key.
    case command([String])

    /// Reads the key, or runs the program that prints it.
    func read() throws -> KeyEncryptionKey {
        switch self {
        case .file(let path): try KeyEncryptionKeyFile.read(path)
        case .credential(let name): try KeyEncryptionKeyFile.read(credential: name)
        case .command(let command): try KeyEncryptionKeyCommand.run(command)
        }
    }

    /// The path of the file; nil for another source.
    var file: String? { if case .file(let path) = self { path } else { nil } }
}

extension Settings {
    /// Where the key-encryption key in use comes from.
    var kekSource: KeyEncryptionKeySource {
        get throws(SettingsError) {
            guard let source = try Self.source(kekFile, "kekFile", kekCredential, kekCommand, "kek") else {
                throw .required("kekFile")
            }
            return source
        }
    }

    /// Where the key-encryption key comes from that replaces it; nil while none is replaced.
    var newKekSource: KeyEncryptionKeySource? {
        get throws(SettingsError) { try Self.source(newKekFile ?? "", "newKek.file", newKekCredential, newKekCommand, "newKek") }
    }

    /// The key-encryption key in use, which accepts what is under the new one too, if there is a new one.
    func keyEncryptionKey() throws -> KeyEncryptionKey {
        let kek = try kekSource.read()
        return try newKekSource.map { try kek.accepting($0.read()) } ?? kek
    }

    private static func source(
        _ file: String, _ fileKey: String, _ credential: String?, _ command: [String], _ prefix: String
    ) throws(SettingsError) -> KeyEncryptionKeySource? {
        var sources: [(key: String, source: KeyEncryptionKeySource)] = []
        if !file.isEmpty { sources.append((fileKey, .file(file))) }
        if let credential { sources.append(("\(prefix).credential", .credential(credential))) }
        if !command.isEmpty { sources.append(("\(prefix).command", .command(command))) }
        guard sources.count <= 1 else { throw .several(sources.map(\.key)) }
        return sources.first?.source
    }

    /// Names that operators may expect, and what to use in their place.
    static let unsupported = [
        "kek.pkcs11":
            "use kek.command with a program that has the token decrypt the key, such as pkcs11-tool or openssl with its PKCS#11 provider",
        "newKek.pkcs11": "use newKek.command with a program that has the token decrypt the key",
        "https.ocsp": "certificates are not stapled with OCSP responses; end TLS in a proxy that does, and set https.proxyProtocol",
        "https.crl": "certificates of clients are not asked for, so there is no list of revoked ones to check",
    ]
}
