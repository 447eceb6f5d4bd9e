import Foundation
import Glibc

/// Names of the operating system's users.
enum UserName {
    /// The user that this program runs as.
    static var current: String { name(of: geteuid()) }

    static func name(of id: uid_t) -> String {
        getpwuid(id).flatMap { String(cString: $0.pointee.pw_name) } ?? "uid \(id)"
    }

    /// The person who signed in to this machine, even if `sudo` or `runuser` changed the user since; nil if the machine does
    /// not say.
    ///
    /// For its audit, the kernel keeps the user who signed in. If the kernel knows no such user, only `sudo` names the user, in a
    /// variable that any user could set.
    static var atTheMachine: String? {
        let login = try? String(contentsOfFile: "/proc/self/loginuid", encoding: .utf8).trimmingCharacters(
            in: .whitespacesAndNewlines)
        if let id = login.flatMap(uid_t.init), id != uid_t.max { return name(of: id) }
        guard let name = ProcessInfo.processInfo.environment["SUDO_USER"], (1...nameLimit).contains(name.utf8.count),
            name.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        return name
    }

    private static let nameLimit = 64
}
