import ArgumentParser
import CellCrypto
import Foundation
import Glibc
import Tenancy

/// The source of a key-encryption key.
enum KeyEncryptionKeySource {
    case file(String)
    /// A systemd credential: a file in `$CREDENTIALS_DIRECTORY`.
    case credential(String)
    /// A program that prints the key.
    case command([String])
    /// A file that a PKCS#11 token opens.
    case token(KeyTokenPlace)

    /// Reads the key, or runs the program that prints it.
    func read() throws -> KeyEncryptionKey {
        switch self {
        case .file(let path): try KeyEncryptionKeyFile.read(path)
        case .credential(let name): try KeyEncryptionKeyFile.read(credential: name)
        case .command(let command): try KeyEncryptionKeyCommand.run(command)
        case .token(let place): try SealedKeyEncryptionKey.read(place)
        }
    }

    /// The path of the file, sealed or not; nil for another source.
    var file: String? {
        switch self {
        case .file(let path): path
        case .token(let place): place.sealedFile
        case .credential, .command: nil
        }
    }
}

extension Settings {
    /// The source of the key-encryption key in use.
    var kekSource: KeyEncryptionKeySource {
        get throws(SettingsError) {
            guard let source = try Self.source(kekFile, "kekFile", kekCredential, kekCommand, kekToken, "kek") else {
                throw .required("kekFile")
            }
            return source
        }
    }

    /// The source of the new key-encryption key during a rotation; nil otherwise.
    var newKekSource: KeyEncryptionKeySource? {
        get throws(SettingsError) {
            try Self.source(newKekFile ?? "", "newKek.file", newKekCredential, newKekCommand, newKekToken, "newKek")
        }
    }

    /// The key-encryption key in use. During a rotation it also accepts what is under the new one.
    func keyEncryptionKey() throws -> KeyEncryptionKey {
        let kek = try kekSource.read()
        return try newKekSource.map { try kek.accepting($0.read()) } ?? kek
    }

    /// The key-encryption key for the service or a command.
    ///
    /// - Throws: An exit code of 78 (`EX_CONFIG`) for a PIN that a token refuses, after printing a message. systemd does not retry
    ///   then.
    func startingKeyEncryptionKey() throws -> KeyEncryptionKey {
        do {
            return try keyEncryptionKey()
        } catch let problem as KeyTokenProblem where problem.isOfPIN {
            FileHandle.standardError.write(Data("Error: \(problem)\n".utf8))
            throw ExitCode(EX_CONFIG)
        }
    }

    private static func source(
        _ file: String, _ fileKey: String, _ credential: String?, _ command: [String], _ token: TokenSettings,
        _ prefix: String
    ) throws(SettingsError) -> KeyEncryptionKeySource? {
        var sources: [(key: String, source: KeyEncryptionKeySource)] = []
        if !file.isEmpty { sources.append((fileKey, .file(file))) }
        if let credential { sources.append(("\(prefix).credential", .credential(credential))) }
        if !command.isEmpty { sources.append(("\(prefix).command", .command(command))) }
        if let place = try token.place("\(prefix).pkcs11") { sources.append(("\(prefix).pkcs11", .token(place))) }
        guard sources.count <= 1 else { throw .several(sources.map(\.key)) }
        return sources.first?.source
    }

    /// Settings that operators may expect, with their replacements.
    static let unsupported = [
        "https.ocsp": "certificates are not stapled with OCSP responses; end TLS in a proxy that does, and set https.proxyProtocol",
        "https.crl": "certificates of clients are not compared with a list of revoked ones; end the use of one with "
            + "fieldseal client remove-key, or of all of a client with fieldseal client disable",
    ]
}
