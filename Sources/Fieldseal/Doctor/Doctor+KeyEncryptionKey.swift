import CellCrypto
import Foundation

extension Doctor {
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
