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

    /// The path of the file with the key, which a token may have sealed; nil if the key is not in a file.
    var file: String? {
        switch self {
        case .file(let path): path
        case .token(let place): place.sealedFile
        case .credential, .command: nil
        }
    }
}

extension Settings {
    /// The source of the key-encryption key in use: the selected database's own one, or the deployment's.
    var kekSource: KeyEncryptionKeySource {
        get throws(SettingsError) {
            let shared = try Self.source(kekFile, "kekFile", kekCredential, kekCommand, kekToken, "kek")
            guard let source = try ownKekSource ?? shared else {
                guard let name = selectedDatabase, !databaseKeks.isEmpty else { throw .required("kekFile") }
                throw .malformed(
                    "the settings have no key-encryption key for the database \(name): add it to kekFiles, or name one in kekFile for all "
                        + "databases without their own")
            }
            return source
        }
    }

    /// The source of the selected database's own key-encryption key; nil if it has the deployment's.
    private var ownKekSource: KeyEncryptionKeySource? {
        get throws(SettingsError) {
            guard let selectedDatabase else { return nil }
            return try databaseKeks.source(of: selectedDatabase)
        }
    }

    /// Whether the selected database has, or gets during a rotation, a key-encryption key of its own.
    var hasOwnKek: Bool {
        guard let selectedDatabase else { return false }
        return databaseKeks.hasKey(of: selectedDatabase)
    }

    /// The file with a copy of the selected database's key-encryption key, for the doctor; nil for none.
    var kekCopy: String? {
        if let own = selectedDatabase.flatMap({ databaseKeks.copyFiles[$0] }) { return own }
        return (try? ownKekSource) == nil ? kekCopyFile : nil
    }

    /// The source of the new key-encryption key during a rotation; nil otherwise. A database without a key-encryption key of
    /// its own gets the deployment's new one.
    var newKekSource: KeyEncryptionKeySource? {
        get throws(SettingsError) {
            if let selectedDatabase {
                if let own = try databaseKeks.newSource(of: selectedDatabase) { return own }
                guard try ownKekSource == nil else { return nil }
            }
            return try Self.source(newKekFile ?? "", "newKek.file", newKekCredential, newKekCommand, newKekToken, "newKek")
        }
    }

    /// The key-encryption key in use. During a rotation the returned key also opens and verifies values under the new key.
    func keyEncryptionKey() throws -> KeyEncryptionKey {
        let kek = try kekSource.read()
        return try newKekSource.map { try kek.accepting($0.read()) } ?? kek
    }

    /// The key-encryption key for the service or a command.
    ///
    /// - Throws: An exit code of 78 (`EX_CONFIG`) for a PIN that a token refuses, after printing a message. systemd does not
    ///   restart a service that ended with this code.
    func startingKeyEncryptionKey() throws -> KeyEncryptionKey {
        do {
            return try keyEncryptionKey()
        } catch let problem as KeyTokenProblem where problem.isOfPIN {
            FileHandle.standardError.write(Data("Error: \(problem)\n".utf8))
            throw ExitCode(EX_CONFIG)
        }
    }

    private static let databaseTokens =
        "the key-encryption keys of single databases are in kekFiles, kekCredentials and kekCommands, by the databases' names; a PKCS#11 token "
        + "(kek.pkcs11) is for all databases without their own"

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

    /// Settings that operators may expect and that do not exist, each with what to do instead.
    static let unsupported = [
        "keks": databaseTokens, "newKeks": databaseTokens, "kekTokens": databaseTokens, "newKekTokens": databaseTokens,
        "https.ocsp":
            "the service does not staple OCSP responses to its certificates; end TLS in a proxy that does, and set "
            + "https.proxyProtocol",
        "https.crl":
            "the service does not check certificates of clients against lists of revoked ones; end the use of a certificate with "
            + "fieldseal client remove-key, or of all certificates of a client with fieldseal client disable",
    ]
}
