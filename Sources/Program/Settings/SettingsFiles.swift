import Foundation
import Glibc
import NIOSSL

/// Files and folders of the settings that are used only after the service has started.
struct SettingsFiles {
    private let settings: Settings

    init(_ settings: Settings) { self.settings = settings }

    /// Problems with files that the service reads or writes later. The service starts despite the problems, and logs them.
    var problems: [String] {
        [
            Self.authority("issuers.authorityFile", settings.issuerAuthorityFile),
            Self.authority("mail.authorityFile", settings.mailAuthorityFile),
            settings.eventFile.flatMap(Self.obstacle).map { "events.file: \($0), so security events can't be sent" },
        ].compactMap(\.self)
    }

    /// The reason for which `fieldseal retention` can't write archives; nil if it can, or if the settings ask for no archives.
    var archiveProblem: String? {
        guard settings.eventDays ?? settings.auditDays != nil else { return nil }
        guard let folder = settings.archiveFolder else {
            return "retention.folder is not set: events and audit entries are moved to files in it"
        }
        return Self.folderObstacle(folder).map {
            "retention.folder: \($0), so events and audit entries can't be moved to files in it"
        }
    }

    /// The reason for which a file with CA certificates can't be used.
    static func authority(_ setting: String, _ file: String?) -> String? {
        guard let file else { return nil }
        guard access(file, R_OK) == 0 else { return "\(setting): \(file) can't be read: \(reason)" }
        guard let certificates = try? NIOSSLCertificate.fromPEMFile(file), !certificates.isEmpty else {
            return "\(setting): \(file) holds no certificate in PEM, so no server with a certificate of its own is trusted"
        }
        return nil
    }

    /// The reason for which lines can't be appended to a file, which may not exist yet.
    private static func obstacle(_ file: String) -> String? {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: file, isDirectory: &isFolder) else {
            return folderObstacle((file as NSString).deletingLastPathComponent)
        }
        guard !isFolder.boolValue else { return "\(file) is a folder" }
        return access(file, W_OK) == 0 ? nil : "\(file) can't be written: \(reason)"
    }

    /// The reason for which no file can be made in a folder.
    private static func folderObstacle(_ path: String) -> String? {
        let folder = path.isEmpty ? "." : path
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder) else { return "there is no folder \(folder)" }
        guard isFolder.boolValue else { return "\(folder) is not a folder" }
        return access(folder, W_OK | X_OK) == 0 ? nil : "no file can be made in \(folder): \(reason)"
    }

    private static var reason: String { String(cString: strerror(errno)) }
}
