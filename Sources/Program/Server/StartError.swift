/// The reason for which the service does not start.
enum StartError: Error, CustomStringConvertible {
    case superuser(String)
    case notMigrated
    /// The role, and PostgreSQL's message about the right that it lacks.
    case rightsMissing(String, String)
    /// The setting of a port, the port and the host.
    case portTaken(String, Int, String)
    /// The setting of a port, the port, the host, and why the service can't listen there.
    case noListener(String, Int, String, reason: String)
    /// Two settings with the same port.
    case portTwice(String, String, Int)
    /// The reason for which one of several databases can't be served.
    case database(String, any Error)
    case organizationsUnknown(String)
    case socketTaken(String)
    case noSocket(String)
    case unusableSocket(String)
    /// The path of the unix socket, and the reason for which it can't be made.
    case noSocketFolder(String, reason: String)

    var description: String {
        switch self {
        case .superuser(let name):
            "the database connection is a superuser's (\(name)), and a superuser can switch the database's guards off; connect as "
                + "fieldseal_service, or add --allow-superuser"
        case .portTaken(let setting, let port, let host):
            "port \(port) is taken on \(host) by another program; end that program, or set \(setting) to another port"
        case .noListener(let setting, let port, let host, let reason):
            "the service can't listen on \(host), port \(port): \(reason); correct \(setting), or \(setting.replacing("port", with: "host")). "
                + "A port below 1024 needs root or CAP_NET_BIND_SERVICE"
        case .portTwice(let first, let second, let port):
            "\(first) and \(second) are both port \(port); set one of them to another port"
        case .noSocketFolder(let path, let reason):
            "the socket \(path) can't be made: \(reason); make its folder for the service's user, or set socket.path to another path"
        case .database(let name, let reason): "the database \(name) can't be served: \(reason)"
        case .organizationsUnknown(let name): "the organizations of the database \(name) can't be read; see PostgreSQL's log"
        case .socketTaken(let path):
            "another program listens on \(path); end that program, or set socket.path to another path"
        case .noSocket(let path): "\(path) is a file, but not a socket; remove it, or set socket.path to another path"
        case .unusableSocket(let name):
            "systemd gave the socket '\(name)', which the service does not use; it takes stream sockets that listen, with "
                + "FileDescriptorName=https or http, and one unix socket"
        case .rightsMissing(let role, let reason):
            "the role \(role) lacks rights in the database: \(reason); fieldseal config check names each, and fieldseal doctor too"
        case .notMigrated: "the database is not at this program's version: fieldseal migrate up"
        }
    }
}
