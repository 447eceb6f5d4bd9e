import CellCrypto
import Diagnostics
import Foundation
import PostgresClient
import Tenancy

/// Tests the settings for `config check`: the key-encryption key, the roles and their rights, TLS to the database, ports.
struct ConfigTrial {
    private let settings: Settings
    /// Problems that prevent the service from working.
    private(set) var problems: [String] = []
    /// Notes for an operator.
    private(set) var notes: [String] = []

    init(_ settings: Settings) { self.settings = settings }

    mutating func run() async {
        let all = settings.allDatabases
        for one in all { await tryDatabase(settings.selecting(one), all.count > 1 ? "\(one.name): " : "") }
        tryPorts()
    }

    /// - Parameter label: The prefix of each sentence, if there are several databases.
    private mutating func tryDatabase(_ settings: Settings, _ label: String) async {
        let pool = ConnectionPool(.init(conninfo: settings.database, limit: 2, applicationName: "fieldseal command"))
        do {
            let own = try settings.keyEncryptionKey()
            try await PoolerCheck.refuseTransactionPooling(settings.database)
            let kek = try await KeyEncryptionKeyCheck.check(own, on: pool)
            let deployment = Deployment(conninfo: settings.database, pool: pool, kek: kek, policy: settings.policy)
            let doctor = try Doctor(
                deployment, administrativeConninfo: settings.migrationDatabase, kekFile: settings.kekSource.file,
                kekCopyFile: settings.kekCopyFile)
            for finding in try await doctor.access() {
                let text = "\(label)\(finding.message): \(finding.advice)"
                if finding.severity == .error { problems.append(text) } else { notes.append(text) }
            }
        } catch let error as PostgresError where error.isConnectionLoss {
            notes.append(
                "\(label)the database can't be asked, so the key-encryption key was not compared with it, and roles were not tried: \(error)"
            )
        } catch {
            problems.append("\(label)\(error)")
        }
        await pool.close()
    }

    private mutating func tryPorts() {
        let ports =
            [("https.port", settings.httpsPort, settings.httpsHost)]
            + (settings.httpPort.map { [("http.port", $0, settings.httpHost)] } ?? [])
        for (key, port, host) in ports where !Port.isFree(port, on: host) {
            notes.append("\(key): port \(port) is in use, by the running service or by another program")
        }
    }
}
