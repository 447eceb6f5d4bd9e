import Foundation
import Glibc
import Tenancy

/// The settings file in the working folder, which is used if no option and no variable names one.
enum FoundSettings {
    private static let folder = ".fieldseal"
    static let path = "\(folder)/fieldseal.yaml"

    /// Refuses the file if another user could have put it there, because settings name programs to run.
    ///
    /// - Throws: ``SettingsError/foreign(_:reason:)``.
    static func check() throws(SettingsError) {
        for path in [folder, path] {
            // If a path is a link, both the link and its target must belong to this user or to root.
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
