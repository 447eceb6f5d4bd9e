import Diagnostics
import Foundation
import Glibc
import PostgresClient
import Tenancy
import WebAPI

/// The notes of `config check` about settings that let the service start, but are probably not intended.
struct SettingsNotes {
    private let settings: Settings

    init(_ settings: Settings) { self.settings = settings }

    var all: [String] { [addresses, writableFile, shares, addressShares].compactMap(\.self) + keyCopies + passwordFiles + exposed }

    /// - Parameter certificate: The certificate of the service's own address.
    func name(in certificate: ServerCertificate) -> String? {
        let host = self.host
        guard !host.isEmpty, !certificate.isFor(host) else { return nil }
        let names = certificate.names.isEmpty ? "no name" : certificate.names.joined(separator: ", ")
        return
            "baseURL: the certificate \(certificate.file) is for \(names), and not for the host \(host). Clients "
            + "reject this certificate, unless a proxy in front of the service presents another one"
    }

    /// The note that the server's limit of connections leaves too few for the service.
    func connections(limit: Int, reserved: Int) -> String? {
        // Connections besides the pool: five for short statements, two for notices and three for a key change. With a single
        // database, one connection for notices is enough, so the second one may watch the primary (operations.md, Settings).
        let watchesBesides = settings.databases.count > 1 && PrimaryWatch(conninfo: settings.database) != nil
        let wanted = settings.connections + (watchesBesides ? 11 : 10)
        guard wanted > limit - reserved else { return nil }
        return "connections: the service may open \(wanted) connections, and PostgreSQL has \(limit - reserved) for all programs "
            + "(max_connections). Raise max_connections, or lower connections"
    }

    /// The host of ``Settings/baseURL``; empty if it is an IPv6 address.
    private var host: String {
        let rest = settings.baseURL.dropFirst("https://".count).lowercased()
        return rest.hasPrefix("[") ? "" : String(rest.prefix { $0 != ":" })
    }

    private var addresses: String? {
        let port =
            settings.baseURL.lastIndex(of: ":").flatMap { Int(settings.baseURL[settings.baseURL.index(after: $0)...]) } ?? 443
        guard settings.httpsPort != 0, port != settings.httpsPort, settings.trustedProxiesAreNone else { return nil }
        return
            "baseURL has the port \(port), and https.port is \(settings.httpsPort): clients reach the service only if "
            + "port \(port) is forwarded to port \(settings.httpsPort)"
    }

    private var writableFile: String? {
        guard let mode = FileStatus(path: settings.file)?.mode, mode & 0o022 != 0 else { return nil }
        return
            "the settings \(settings.file) have the mode \(String(mode, radix: 8)): others than their owner may write them, and they name "
            + "programs that are run; chmod 0640 \(settings.file)"
    }

    /// Notes about the copies of key-encryption keys, one for each copy.
    private var keyCopies: [String] {
        var notes: [String] = []
        for note in settings.allDatabases.compactMap({ Self.keyCopy(settings.selecting($0)) }) where !notes.contains(note) {
            notes.append(note)
        }
        return notes
    }

    private static func keyCopy(_ settings: Settings) -> String? {
        guard let copy = settings.kekCopy else { return nil }
        let setting = copy == settings.kekCopyFile ? "kekCopyFile" : "kekCopyFiles.\(settings.selectedDatabase ?? "")"
        guard FileManager.default.fileExists(atPath: copy) else { return "\(setting): there is no file \(copy)" }
        let devices = [copy, try? settings.kekSource.file].compactMap { path in path.flatMap(FileStatus.init(path:))?.device }
        guard devices.count == 2, devices[0] == devices[1] else { return nil }
        return "\(setting): \(copy) is on the file system of the key itself, and is lost with it; keep the copy on another file "
            + "system"
    }

    private var addressShares: String? {
        let limits = settings.limits
        guard let share = limits.addressConnections, share > limits.connections else { return nil }
        return
            "limits.addressConnections is \(share), more than limits.connections (\(limits.connections)): one address can "
            + "take them all"
    }

    /// The doctor's findings about files with secrets.
    private var exposed: [String] {
        SecretFiles.findings(settings, settingsFile: settings.file).map { "\($0.message): \($0.advice)" }
    }

    private var shares: String? {
        guard let share = settings.clientConnections, share > settings.connections else { return nil }
        return "limits.clientConnections is \(share), more than connections (\(settings.connections)): one client can take all "
            + "connections"
    }

    /// Password files that libpq will not read. libpq itself says only that no password was supplied.
    private var passwordFiles: [String] {
        let conninfos = settings.allDatabases.flatMap { [$0.conninfo, $0.migrationConninfo] }
        let files = conninfos.compactMap { conninfo in
            (try? ConnectionParameters.parse(conninfo))?.last { $0.keyword == "passfile" }?.value
        }
        return Set(files).sorted().compactMap { file in
            guard access(file, R_OK) == 0 else {
                return "the password file \(file) can't be read: \(String(cString: strerror(errno)))"
            }
            guard let mode = FileStatus(path: file)?.mode, mode & 0o077 != 0 else { return nil }
            return
                "the password file \(file) has the mode \(String(mode, radix: 8)), and libpq ignores a file that other users may read: "
                + "chmod 0600 \(file)"
        }
    }
}

extension Settings {
    fileprivate var trustedProxiesAreNone: Bool { limits.trustedProxies.isEmpty }
}
