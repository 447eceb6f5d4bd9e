import Foundation
import Glibc
import Tenancy

/// Settings that no option and no variable names. They are looked for in the working folder.
enum FoundSettings {
    private static let folder = ".fieldseal"
    static let path = "\(folder)/fieldseal.yaml"

    /// Refuses them if another user could have put them there: settings name programs that are run.
    ///
    /// - Throws: ``SettingsError/foreign(_:reason:)``.
    static func check() throws(SettingsError) {
        for path in [folder, path] {
            // Of a link, both its own owner and that of its target count.
            let attributes = try? FileManager.default.attributesOfItem(atPath: path)
            guard let link = (attributes?[.ownerAccountID] as? NSNumber)?.uint32Value, let status = FileStatus(path: path) else {
                continue
            }
            for owner in [link, status.owner] where owner != geteuid() && owner != 0 {
                throw .foreign(path, reason: "it belongs to the user with the id \(owner)")
            }
            guard status.mode & 0o022 == 0 else {
                throw .foreign(path, reason: "others may write to it (mode \(String(status.mode, radix: 8)))")
            }
        }
    }
}
