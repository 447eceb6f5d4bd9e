import Diagnostics
import Foundation
import Glibc
import Tenancy

/// Checks who may read and replace files with secrets other than the key-encryption key.
enum SecretFiles {
    /// Problems with the modes of the files in the settings, and of the settings file itself.
    static func findings(_ settings: Settings, settingsFile: String?) -> [Finding] {
        var files = ([settings.privateKeyFile] + settings.hostPrivateKeyFiles.values.sorted()).map { ("the private key", $0) }
        if let file = settings.mailApplicationsFile {
            files.append(("the applications of mail servers", file))
            files += clientSecrets(file).map { ("a client secret", $0) }
        }
        let conninfos = settings.allDatabases.map { $0.conninfo + $0.migrationConninfo }.joined(separator: " ")
        if let settingsFile, conninfos.contains(#/password\s*=|://[^:/@]*:[^@]*@/#) {
            files.append(("the settings, which have a password of the database,", settingsFile))
        }
        return files.compactMap { finding($0.0, $0.1) }
    }

    /// A finding if other users may read a file, or if anyone except the owner may write it. The group may read the file, because a
    /// service often reads its private key as a member of the group.
    private static func finding(_ what: String, _ path: String) -> Finding? {
        // A missing file is reported where it is used.
        guard !path.isEmpty, let status = FileStatus(path: path) else { return nil }
        let mode = status.mode
        guard mode & 0o027 != 0 else { return nil }
        // The service reads a file of another user as a member of the file's group.
        let proper = status.owner == geteuid() ? "0400" : mode & 0o040 != 0 ? "0640" : "0600"
        return Finding(
            .warning, "secret-file-exposed",
            "\(what) \(path) has the mode \(String(mode, radix: 8)): others than its owner may \(mode & 0o022 != 0 ? "replace" : "read") it",
            advice: "chmod \(proper) \(path)")
    }

    private static func clientSecrets(_ file: String) -> [String] {
        struct Entry: Decodable { let clientSecretFile: String? }
        guard let data = FileManager.default.contents(atPath: file) else { return [] }
        return (try? JSONDecoder().decode([Entry].self, from: data))?.compactMap(\.clientSecretFile) ?? []
    }
}
