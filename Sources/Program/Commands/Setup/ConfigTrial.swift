import CellCrypto
import Diagnostics
import Foundation
import Organizations
import PostgresClient
import Tenancy
import WebAPI

/// Tests the settings for `config check`: the key-encryption key, the roles and their rights, TLS to the database, files,
/// listeners.
struct ConfigTrial {
    private let settings: Settings
    /// Problems that prevent the service from working.
    private(set) var problems: [String] = []
    /// Notes for an operator.
    private(set) var notes: [String] = []
    /// Whether a database did not respond.
    private(set) var isDatabaseAway = false
    /// The organizations of the databases that responded, and whether all databases responded.
    private var organizations: [String] = []
    private var hasAllOrganizations = true

    init(_ settings: Settings) { self.settings = settings }

    mutating func run() async {
        let all = settings.allDatabases
        for one in all { await tryDatabase(settings.selecting(one), all.count > 1 ? "\(one.name): " : "") }
        tryHosts()
        notes += SettingsNotes(settings).all
        tryFiles()
        tryListeners()
        await tryReceiver()
        for network in settings.limits.trustedProxies where network.isEverything {
            notes.append(
                "trustedProxies has \(network), so every client can choose the address under which it is logged and limited. Name "
                    + "only the addresses of your proxies"
            )
        }
    }

    /// - Parameter label: The prefix of each sentence, if there are several databases.
    private mutating func tryDatabase(_ settings: Settings, _ label: String) async {
        let pool = ConnectionPool(.init(conninfo: settings.database, limit: 2, applicationName: "fieldseal command"))
        do {
            let own = try settings.keyEncryptionKey()
            if try settings.newKekSource != nil, own.ids.count == 1 {
                notes.append("\(label)newKek is the present key-encryption key \(own.id); name another one, or remove newKek")
            }
            try await PoolerCheck.refuseTransactionPooling(settings.database)
            let kek = try await KeyEncryptionKeyCheck.check(own, on: pool)
            let deployment = Deployment(conninfo: settings.database, pool: pool, kek: kek, policy: settings.policy)
            let doctor = try Doctor(
                deployment, administrativeConninfo: settings.migrationDatabase, kekFile: settings.kekSource.file,
                kekCopyFile: settings.kekCopy)
            let room = try await pool.withConnection { connection in
                let row = try connection.query(
                    """
                    SELECT current_setting('max_connections')::integer, current_setting('superuser_reserved_connections')::integer
                    """)[0]
                return (limit: try row.decode(0, as: Int.self), reserved: try row.decode(1, as: Int.self))
            }
            if let note = SettingsNotes(settings).connections(limit: room.limit, reserved: room.reserved) {
                notes.append(label + note)
            }
            if let names = try? await OrganizationEntry.list(deployment).map(\.organization.name) {
                organizations += names
            } else {
                hasAllOrganizations = false
            }
            let alike = Dictionary(grouping: try await doctor.access()) { "\($0.message): \($0.advice)" }
            for (sentence, findings) in alike.sorted(by: { ($1.value[0].severity, $0.key) < ($0.value[0].severity, $1.key) }) {
                let finding = findings[0]
                let others = findings.count == 1 ? "" : " (\(finding.subject) and \(findings.count - 1) more)"
                let text = label + sentence + others
                if finding.severity == .error { problems.append(text) } else { notes.append(text) }
            }
        } catch let error as PostgresError where error.isRefusedConnection {
            hasAllOrganizations = false
            problems.append("\(label)the database refuses the connection: \(error)")
        } catch let error as PostgresError where error.isConnectionLoss {
            (hasAllOrganizations, isDatabaseAway) = (false, true)
            notes.append(
                "\(label)the database could not be queried, so the key-encryption key was not compared with it, and the roles "
                    + "were not tried: \(error)"
            )
        } catch {
            hasAllOrganizations = false
            problems.append("\(label)\(error)")
        }
        await pool.close()
        await tryStandby(settings, label)
    }

    /// Connects to the standby, and compares it with the primary.
    private mutating func tryStandby(_ settings: Settings, _ label: String) async {
        guard !settings.standbyDatabase.isEmpty else { return }
        do {
            try await PoolerCheck.refuseTransactionPooling(settings.standbyDatabase)
            switch try await Standby.isStandby(settings.standbyDatabase, of: settings.database, mark: ServerPresence.mark) {
            case true?: break
            case nil:
                notes.append(
                    "\(label)the standby is more than 3 seconds behind the primary, so the primary runs lists until it has caught up, if it "
                        + "is a standby of this database at all")
            case false?:
                problems.append(
                    "\(label)the standby is not one of this database: it belongs to another PostgreSQL, follows a former primary, or "
                        + "the connection string names another database. Correct standbyDatabase")
            }
        } catch {
            notes.append("\(label)the standby could not be queried, so the primary runs lists: \(error)")
        }
    }

    /// Reports hosts in the settings whose organization is in no database.
    private mutating func tryHosts() {
        guard hasAllOrganizations else { return }
        for (host, organization) in settings.hosts.sorted(by: { $0.key < $1.key }) where !organizations.contains(organization) {
            let known = organizations.isEmpty ? "none" : organizations.sorted().joined(separator: ", ")
            problems.append(
                "hosts: \(host) is for \(organization), and there is no such organization; there are: \(known). Correct the name, or create it"
            )
        }
    }

    /// Reads the files that the settings name, in the same way as the service.
    private mutating func tryFiles() {
        let settings = settings
        attempt { _ = try ServerCertificate.clientAuthorities(settings) }
        attempt { _ = try settings.eventReceiver() }
        attempt { _ = try settings.mailTokens() }
        let files = SettingsFiles(settings)
        problems += files.problems
        if let problem = files.archiveProblem { problems.append(problem) }
    }

    /// Connects to the receiver of security events. A failure is only a note, because the service also starts without the receiver.
    private mutating func tryReceiver() async {
        guard let receiver = try? settings.eventReceiver() as? SyslogReceiver else { return }
        do { try await receiver.check() } catch { notes.append("events.syslog: \(error)") }
    }

    private mutating func tryListeners() {
        let (listeners, socket) = (settings.listeners, settings.unixSocket)
        attempt { try Listener.checkTwice(listeners) }
        for listener in listeners { attempt { try listener.check() } }
        attempt { try socket?.check() }
    }

    /// Appends an error to the problems. A port or a socket in use is only a note, because the running service may use it.
    private mutating func attempt(_ body: () throws -> Void) {
        do {
            try body()
        } catch StartError.portTaken(let setting, let port, _) {
            notes.append("\(setting): port \(port) is in use, by the running service or by another program")
        } catch StartError.socketTaken(let path) {
            notes.append("socket.path: \(path) is in use, by the running service or by another program")
        } catch {
            problems.append("\(error)")
        }
    }
}
