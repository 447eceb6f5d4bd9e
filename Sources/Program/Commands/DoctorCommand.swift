import ArgumentParser
import CellCrypto
import Diagnostics
import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

/// Reports the problems of a deployment.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract:
            "Check the deployment, and print what is wrong and what to do; exit 1 for warnings, 2 for errors, 3 if the database can't be reached.",
        example: "doctor --org contoso --deep")
    @Flag(help: "Also open every cell.") var deep = false
    @Option(
        help: ArgumentHelp(
            "How far a replica may lag, in MiB of write-ahead log or with a unit such as 1GiB.", valueName: "size"),
        transform: { try mebibytes($0) })
    var replicaLag = 64
    @Option(name: .customLong("org"), help: ArgumentHelp("Check only this organization, and the deployment.", valueName: "name"))
    var organization: String?
    @Option(help: ArgumentHelp("Show at most this number of findings of each kind, and count the others.", valueName: "n"))
    var limit = 20
    @OptionGroup var options: CommandOptions

    func validate() throws {
        guard (1...1_000_000).contains(limit) else { throw ValidationError("--limit takes a number from 1 to 1000000.") }
        guard (0...1 << 30).contains(replicaLag) else { throw ValidationError("--replica-lag is in MiB, from 0 on.") }
    }

    func run() async throws {
        let settings = try await Settings.read(options.settings)
        let chosen = try await organization == nil ? options : options.located(organization)
        let databases = settings.allDatabases.filter { chosen.database == nil || chosen.database == $0.name }
        if databases.isEmpty { _ = try settings.selecting(chosen.database) }
        var report = FindingReport(limit: limit)
        var isUnreachable = false
        for one in databases {
            var selected = chosen
            selected.database = one.name
            let (found, isReached) = try await look(selected, settings.allDatabases.count > 1 ? one.name : nil)
            report.add(found, of: databases.count > 1 ? one.name : nil)
            isUnreachable = isUnreachable || !isReached
        }
        if organization == nil, settings.allDatabases.count > 1 { report.add(await Self.across(settings)) }
        let derivation = settings.policy.passwordDerivation
        options.report(report.json(derivation), "\(report.text)\n\(FindingReport.cryptographyLine(derivation))")
        if isUnreachable { throw ExitCode(3) }
        switch report.worst {
        case .error: throw ExitCode(2)
        case .warning: throw ExitCode(1)
        default: return
        }
    }

    /// Examines one database.
    ///
    /// - Returns: The findings, and whether the database was reachable.
    private func look(_ options: CommandOptions, _ name: String?) async throws -> (FindingReport, Bool) {
        do {
            let (deployment, settings) = try await options.deployment(comparesKey: false, lockLimit: Doctor.lockLimit)
            var report = try await Doctor(
                deployment, administrativeConninfo: settings.migrationDatabase, kekFile: settings.kekSource.file,
                kekCopyFile: settings.kekCopy, allowedLag: replicaLag,
                shipsEvents: settings.eventFile != nil || settings.eventSyslog != nil,
                besides: { CertificateFindings.findings(settings) }
            ).report(organization: organization, opensCells: deep, limit: limit)
            let path = Settings.candidates(options.settings).first { FileManager.default.fileExists(atPath: $0) }
            // If the key-encryption key is wrong, the doctor examines nothing else in the deployment, so it skips the secret files.
            let isWrong = report.findings.contains { $0.code == "wrong-key-encryption-key" }
            report.add(Self.selfTest() + Self.derivation(settings))
            if !isWrong { report.add(SecretFiles.findings(settings, settingsFile: path)) }
            return (report, true)
        } catch let error as FieldsealError where error.code == .noResource {
            throw CommandFailure("There is no organization \(organization ?? ""): fieldseal org list shows the organizations.")
        } catch let error where name != nil && (error is KeyEncryptionKeyFile.Problem || error is KeyEncryptionKeyCommand.Problem) {
            var report = FindingReport(limit: limit)
            report.add([
                Finding(
                    .error, "kek-unusable", "the key-encryption key can't be read, so nothing was checked: \(error)",
                    advice:
                        "restore the key-encryption key from its copy, or correct its setting. Running servers work on, but can't "
                        + "be restarted"
                )
            ])
            return (report, true)
        } catch let error as PostgresError where error.isConnectionLoss {
            var report = FindingReport(limit: limit)
            let settings = name.map { "databases.\($0) and migrationDatabases.\($0)" } ?? "database and migrationDatabase"
            report.add([
                Finding(
                    .error, "database-unreachable", "the database can't be reached, so nothing was checked: \(error)",
                    advice: error.isRefusedConnection
                        ? "read the server's message: correct a password, pg_hba.conf, the server's certificate or its "
                            + "connections, or \(settings) in the settings. If a setting of the role is the cause, as a "
                            + "superuser: ALTER ROLE … RESET ALL; ALTER ROLE … IN DATABASE … RESET ALL"
                        : "start PostgreSQL, or correct \(settings) in the settings")
            ])
            return (report, false)
        }
    }

    /// A finding for each organization that is in several databases.
    private static func across(_ settings: Settings) async -> [Finding] {
        let lists = await DatabaseLists(settings)
        return lists.duplicates.sorted { $0.key < $1.key }.map { name, databases in
            let first = databases.min { lists.lists[$0]?[name] ?? .distantFuture < lists.lists[$1]?[name] ?? .distantFuture } ?? ""
            return Finding(
                .error, "organization-in-two-databases",
                "the organization \(name) is in the databases \(databases.joined(separator: ", ")): servers serve the one of \(first), "
                    + "which had it first",
                advice: "compare both with --database, then give one another name (fieldseal org rename --database …) or remove it")
        }
    }

    /// A finding if libcrypto lacks the algorithm for people's passwords.
    private static func derivation(_ settings: Settings) -> [Finding] {
        let name = settings.policy.passwordDerivation.rawValue
        let source = CryptoLibrary.sources.first { $0.algorithm.lowercased() == name }
        guard source?.provider == nil else { return [] }
        return [
            Finding(
                .error, "password-derivation-missing",
                "no provider of libcrypto has \(name), so no person can sign in with a password",
                advice:
                    "set passwords.derivation to pbkdf2, restart the service, and reset the passwords of people: fieldseal user reset"
            )
        ]
    }

    /// A finding if libcrypto's self-test fails.
    private static func selfTest() -> [Finding] {
        do {
            try CryptoLibrary.selfTest()
            return []
        } catch {
            return [Finding(.error, "crypto-self-test", "\(error)", advice: "reinstall libssl3, and start the service again")]
        }
    }
}

private func mebibytes(_ text: String) throws -> Int {
    guard let number = Quantity.number(text, in: .mebibytes) else {
        throw ValidationError("--replica-lag takes \(Quantity.Unit.mebibytes.words).")
    }
    return number
}
