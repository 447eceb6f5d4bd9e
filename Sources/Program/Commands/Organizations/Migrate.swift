import ArgumentParser
import Foundation
import JSON
import Migrations
import Organizations
import Tenancy

/// Brings the database to this program's version.
struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Apply and inspect the database's migrations.",
        subcommands: [Bootstrap.self, Recovery.self, Up.self, Down.self, Status.self, Verify.self])

    struct Bootstrap: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make the roles, the schema cell and the event triggers. Run it once, as a superuser.",
            example: "migrate bootstrap --settings /root/superuser.yaml")
        @OptionGroup var options: CommandOptions

        func run() async throws { try await options.inDatabases(look) }

        @Sendable private func look(_ options: CommandOptions) async throws {
            let runner = MigrationRunner(conninfo: try await options.readSettings().migrationDatabase)
            try await runner.bootstrap()
            let knowsCase = try await runner.knowsCase()
            options.report(
                ["bootstrapped": true, "knowsCase": .bool(knowsCase)],
                "The roles, the schema cell and the event triggers are there."
                    + (knowsCase
                        ? ""
                        : "\nThe database's locale knows no upper and lower case beyond ASCII: names such as Ärger will not be found "
                            + "regardless of case. Make the database with LC_CTYPE 'C.UTF-8' or a language's locale."))
        }
    }

    struct Recovery: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make the functions that open cells in SQL, as a superuser. Only a recovery in SQL needs them.",
            discussion:
                "With --superuser, the command needs no settings and no key-encryption key: for a database that was restored "
                + "without them.",
            example: "migrate recovery --superuser \"host=/run/postgresql dbname=restored user=postgres\"")
        @Option(
            help: ArgumentHelp(
                "Connection string of a superuser, without a password: use a passfile.", valueName: "conninfo"))
        var superuser: String?
        @OptionGroup var options: CommandOptions

        func validate() throws { try SetupRoles.refusePassword(in: superuser) }

        func run() async throws {
            guard let superuser else {
                return try await options.inDatabases { try await make($0, $0.readSettings().migrationDatabase) }
            }
            try await options.reachingDatabase { try await make(options, superuser) }
        }

        private func make(_ options: CommandOptions, _ conninfo: String) async throws {
            try await MigrationRunner(conninfo: conninfo).recovery()
            options.report(["installed": true], "cell.derive_key, cell.open and cell.key_is_right are there.")
        }
    }

    struct Up: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Apply pending migrations to the deployment, and to one or all organizations.",
            discussion: """
                Several organizations are migrated at a time, each migration in its own transaction. After an interruption, run \
                the command again.
                """,
            example: "migrate up --rehearse")
        @OptionGroup var options: CommandOptions
        @Option(name: .customLong("org"), help: ArgumentHelp("Only this organization.", valueName: "name"))
        var organization: String?
        @Option(
            help: ArgumentHelp(
                "How many organizations are migrated at a time, each on its own database connection.", valueName: "n"))
        var parallel = MigrationRunner.defaultParallelism
        @Flag(
            help:
                "Apply what is pending, print times and locks, and roll it back. Holds the locks meanwhile, so use a copy."
        )
        var rehearse = false

        func validate() throws {
            guard (1...100).contains(parallel) else { throw ValidationError("--parallel is from 1 to 100.") }
        }

        func run() async throws { try await options.inDatabases(of: organization, look) }

        @Sendable private func look(_ options: CommandOptions) async throws {
            let settings = try await options.readSettings()
            if rehearse { return try await rehearse(settings) }
            let outcomes = try await MigrationRunner(
                conninfo: settings.migrationDatabase, completion: settings.attestationUpgrade()
            ).up(organization: organization, parallelism: parallel, onOutcome: report)
            let idle = outcomes.count { $0.isIdle }
            if !options.json, idle > 0 {
                options.report(.null, "\(idle == 1 ? "1 organization" : "\(idle) organizations"): nothing to do")
            }
            if outcomes.contains(where: { $0.error != nil || !$0.notes.isEmpty }) { throw ExitCode.failure }
        }

        /// Prints each outcome once it is finished. In the text form, organizations without changes are only counted at the end.
        @Sendable private func report(_ outcome: MigrationRunner.Outcome) {
            guard options.json || !outcome.isIdle else { return }
            let error = outcome.error.map { "\($0)" }
            let names: [JSONValue] = outcome.applied.map { .string($0) }
            options.report(
                [
                    "target": .string("\(outcome.target)"), "applied": .array(names), "error": .text(error),
                    "notes": .array(outcome.notes.map { .string($0) }),
                ],
                (error ?? "\(outcome.target): \(names.isEmpty ? "nothing to do" : outcome.applied.joined(separator: ", "))")
                    + outcome.notes.map { "\n\($0)" }.joined())
        }
    }

    struct Down: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Undo the newest migration of one target, to return to an earlier program.",
            discussion:
                "The command asks for the migration's name. Migrations that made the tables of cells, evidence or attested states "
                + "can't be undone.",
            example: "migrate down contoso --dry-run")
        @Argument(help: "config, or an organization's name.") var target: String
        @Flag(help: "Print the SQL, and change nothing.") var dryRun = false
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let chosen = try await target == "config" ? options : options.located(target)
            let settings = try await chosen.readSettings()
            let runner = MigrationRunner(conninfo: settings.migrationDatabase)
            let (target, migration) = try await runner.newest(of: target)
            let sql = migration.down ?? ""
            if dryRun {
                options.report(["target": .string("\(target)"), "undoes": .string(migration.name), "sql": .string(sql)], sql)
                return
            }
            let loss = sql.prefix { $0 != "\n" }.drop { "- ".contains($0) }
            try FileHandle.standardError.write(contentsOf: Data("\(loss) Type \(migration.name) to continue: ".utf8))
            guard readLine() == migration.name else { throw CommandFailure("Nothing was changed: the name was not typed.") }
            if case .organization(_, let name, _) = target, migration.holdsSeals {
                try await OrganizationRegistry(
                    conninfo: settings.migrationDatabase, kek: settings.keyEncryptionKey(), policy: settings.policy
                ).giveUpBlocks(of: name, because: "the migration \(migration.name) is undone", by: commandLineCaller)
            }
            try await runner.down(migration, of: target)
            options.report(
                ["target": .string("\(target)"), "undone": .string(migration.name)], "\(target): \(migration.name) is undone.")
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what is applied and what is pending.",
            example: "migrate status --json")
        @OptionGroup var options: CommandOptions

        func run() async throws { try await options.inDatabases(look) }

        @Sendable private func look(_ options: CommandOptions) async throws {
            let runner = MigrationRunner(conninfo: try await options.readSettings().migrationDatabase)
            for status in try await runner.status() {
                let applied: [JSONValue] = status.applied.map { .string($0.name) }
                options.report(
                    [
                        "target": .string("\(status.target)"), "applied": .array(applied),
                        "pending": .array(status.pending.map { .string($0) }), "problem": .text(status.problem.map { "\($0)" }),
                    ],
                    "\(status.target): \(status.applied.count) applied, "
                        + (status.pending.isEmpty ? "none pending" : "pending: \(status.pending.joined(separator: ", "))")
                        + (status.problemWords.map { "; \($0)" } ?? ""))
            }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check that the applied migrations are those of this program; exit 1 if not.",
            example: "migrate verify")
        @OptionGroup var options: CommandOptions

        func run() async throws { try await options.inDatabases(look) }

        @Sendable private func look(_ options: CommandOptions) async throws {
            let runner = MigrationRunner(conninfo: try await options.readSettings().migrationDatabase)
            let problems = try await runner.status().compactMap { status -> String? in
                status.problem.map { "\($0)" }
                    ?? (status.pending.isEmpty ? nil : "\(status.target): pending \(status.pending.joined(separator: ", "))")
            }
            options.report(
                ["problems": .array(problems.map { .string($0) })],
                problems.isEmpty
                    ? "Every migration of this program is applied, and none was changed." : problems.joined(separator: "\n"))
            if !problems.isEmpty { throw ExitCode.failure }
        }
    }
}

extension MigrationRunner.Outcome {
    /// Whether the target is an organization, and nothing was changed.
    fileprivate var isIdle: Bool { target != .config && applied.isEmpty && error == nil }
}

extension Settings {
    /// What a migration runner calls to attest the organizations of an older deployment; nil if the key-encryption key can't be
    /// read.
    func attestationUpgrade() -> MigrationCompletion? {
        guard let kek = try? keyEncryptionKey() else { return nil }
        return AttestationUpgrade(OrganizationRegistry(conninfo: migrationDatabase, kek: kek, policy: policy)).completion
    }
}
