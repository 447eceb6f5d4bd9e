import ArgumentParser
import Fieldseal
import Foundation
import PostgresClient

/// Says what is wrong with a deployment.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract:
            "Walk the deployment and say what is wrong and what to do; exit 1 for warnings, 2 for errors, 3 if the database can't be reached."
    )
    @Flag(help: "Open every cell too.") var deep = false
    @Option(help: ArgumentHelp("How far a replica may be behind, in MiB of write-ahead log.", valueName: "MiB")) var replicaLag = 64
    @OptionGroup var options: CommandOptions

    func validate() throws {
        guard (0...1 << 30).contains(replicaLag) else { throw ValidationError("--replica-lag is in MiB, from 0 on.") }
    }

    func run() async throws {
        let findings: [Finding]
        var isUnreachable = false
        do {
            let (deployment, settings) = try await options.deployment(comparesKey: false)
            let found = try await Doctor(
                deployment, administrativeConninfo: settings.migrationDatabase, kekFile: settings.kekFile,
                kekCopyFile: settings.kekCopyFile, allowedLag: replicaLag
            ).findings(opensCells: deep)
            let path = Settings.candidates(options.settings).first { FileManager.default.fileExists(atPath: $0) }
            // With another key-encryption key there is one thing to say.
            let isWrong = found.contains { $0.code == "wrong-key-encryption-key" }
            findings = Doctor.sorted(found + (isWrong ? [] : SecretFiles.findings(settings, settingsFile: path)))
        } catch let error as PostgresError where error.isConnectionLoss {
            isUnreachable = true
            findings = [
                Finding(
                    .error, "database-unreachable", "the database can't be reached, and nothing was looked at: \(error)",
                    advice: "start it, or correct database and migrationDatabase in the settings")
            ]
        }
        options.report(
            .object([
                .init(
                    "findings",
                    .array(
                        findings.map { finding in
                            [
                                "severity": .string(finding.severity.rawValue), "code": .string(finding.code),
                                "subject": .string(finding.subject), "message": .string(finding.message),
                                "advice": .string(finding.advice),
                            ]
                        }))
            ]),
            findings.isEmpty
                ? "Nothing is wrong."
                : findings.map { "\($0.severity.rawValue.uppercased())  \($0.subject): \($0.message)\n  → \($0.advice)" }
                    .joined(separator: "\n"))
        if isUnreachable { throw ExitCode(3) }
        switch findings.map(\.severity).max() {
        case .error: throw ExitCode(2)
        case .warning: throw ExitCode(1)
        default: return
        }
    }
}
