import Glibc

/// Names of the operating system's users.
enum UserName {
    /// The user that this program runs as.
    static var current: String { name(of: geteuid()) }

    static func name(of id: uid_t) -> String {
        getpwuid(id).flatMap { String(cString: $0.pointee.pw_name) } ?? "uid \(id)"
    }
}
