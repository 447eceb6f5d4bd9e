import ArgumentParser
import Fieldseal
import Foundation

/// Says what is wrong with a deployment.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Walk the deployment and say what is wrong and what to do; exit 1 for warnings, 2 for errors.")
    @Flag(help: "Open every cell too.") var deep = false
    @Option(help: ArgumentHelp("How far a replica may be behind, in MiB of write-ahead log.", valueName: "MiB")) var replicaLag = 64
    @OptionGroup var options: CommandOptions

    func validate() throws {
        guard (0...1 << 30).contains(replicaLag) else { throw ValidationError("--replica-lag is in MiB, from 0 on.") }
    }

    func run() async throws {
        let (deployment, settings) = try await options.deployment(comparesKey: false)
        let findings = try await Doctor(
            deployment, administrativeConninfo: settings.migrationDatabase, kekFile: settings.kekFile,
            kekCopyFile: settings.kekCopyFile, allowedLag: replicaLag
        )
        .findings(opensCells: deep)
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
        switch findings.map(\.severity).max() {
        case .error: throw ExitCode(2)
        case .warning: throw ExitCode(1)
        default: return
        }
    }
}
