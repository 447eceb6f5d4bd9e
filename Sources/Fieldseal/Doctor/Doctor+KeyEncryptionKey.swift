import CellCrypto
import Foundation
import PostgresClient

extension Doctor {
    /// Whether this program has another key-encryption key than the one that the deployment's keys are under. Then nothing of
    /// what it would find besides is true.
    func wrongKeyEncryptionKey(on connection: isolated PostgresConnection) throws -> Finding? {
        let migrated = try connection.query(
            "SELECT to_regclass('config.organization_key') IS NOT NULL AND to_regclass('config.signing_key') IS NOT NULL")
        guard try migrated[0].decode(0) else { return nil }
        let ids = try connection.query(
            """
            SELECT kek_id FROM config.organization_key WHERE retired_on IS NULL AND purged_on IS NULL
            UNION SELECT kek_id FROM config.signing_key WHERE retired_on IS NULL ORDER BY 1
            """
        ).map { try $0.decode(0, as: String.self) }
        guard !ids.isEmpty, !ids.contains(deployment.kek.id) else { return nil }
        return Finding(
            .error, "wrong-key-encryption-key",
            "\(kekFile) is the key-encryption key \(deployment.kek.id), and this deployment's keys are wrapped under \(ids.joined(separator: ", "))",
            advice: "name the right file in kekFile, or restore it from its backup; nothing else was looked at")
    }

    /// Whether somebody else could put another key-encryption key in the place of ours, and whether its copy is one. Its own mode is
    /// checked at every start.
    func keyEncryptionKey() throws -> [Finding] {
        var findings: [Finding] = []
        let folder = URL(fileURLWithPath: kekFile).deletingLastPathComponent().path
        let mode = try FileManager.default.attributesOfItem(atPath: folder)[.posixPermissions] as? Int ?? 0
        // The sticky bit keeps others from replacing a file that is not theirs.
        if mode & 0o022 != 0, mode & 0o1000 == 0 {
            findings.append(
                Finding(
                    .error, "kek-folder-writable", "others may write to \(folder), and so replace the key-encryption key",
                    advice: "chmod go-w \(folder)"))
        }
        guard let kekCopyFile else { return findings }
        do {
            let copy = try KeyEncryptionKeyFile.read(kekCopyFile)
            if copy.id != deployment.kek.id {
                findings.append(
                    Finding(
                        .error, "kek-copy-differs", "\(kekCopyFile) is another key-encryption key than \(kekFile)",
                        advice: "copy the one that opens the keys of this deployment"))
            } else if try Self.device(kekCopyFile) == Self.device(kekFile) {
                findings.append(
                    Finding(
                        .warning, "kek-copy-nearby", "\(kekCopyFile) is on the same file system as the key-encryption key itself",
                        advice: "keep the copy where it survives the loss of the other"))
            }
        } catch let problem as KeyEncryptionKeyFile.Problem {
            findings.append(Finding(.error, "kek-copy-unusable", "\(problem)", advice: "copy the key-encryption key again"))
        }
        return findings
    }

    private static func device(_ path: String) throws -> Int? {
        let target = URL(filePath: path).resolvingSymlinksInPath().path
        return try FileManager.default.attributesOfItem(atPath: target)[.systemNumber] as? Int
    }
}
