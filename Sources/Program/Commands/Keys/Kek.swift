import ArgumentParser
import CellCrypto
import Foundation
import JSON
import Model
import Organizations
import Tenancy

/// The command `kek`, which makes, shows and replaces the key-encryption key.
struct Kek: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make, show and replace the key-encryption key of a deployment.",
        discussion: """
            To replace it: make a new key with `kek create`, as the user of the service; name it in newKek.file beside the present one in \
            the settings of every server, and restart the servers one by one; run `kek rotate`; put the new key in the place of the present one in the \
            settings, restart the servers again, and run `kek retire`.
            """,
        subcommands: [Status.self, Create.self, Seal.self, Rotate.self, Retire.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a new key-encryption key: 64 random bytes in base64, mode 0400. Never overwrites a file.",
            example: "kek create /etc/fieldseal/private/kek")
        @Argument(help: "The file to write.") var path: String

        func run() async throws {
            try KeyEncryptionKeyFile.create(at: path)
            CommandOutput.line(
                """
                Made \(path) with the id \(try KeyEncryptionKeyFile.read(path).id).
                \(KeyEncryptionKeyFile.readers(of: path))
                Keep a copy away from the database's backups: with both, every organization's cells can be opened. Without \
                the key, each organization's own key is needed.
                """)
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what is sealed under which key-encryption key, which servers know which key, and the next step.",
            example: "kek status")
        @OptionGroup var options: CommandOptions

        func run() async throws { try await options.inDatabases(look) }

        @Sendable private func look(_ options: CommandOptions) async throws {
            let (deployment, settings) = try await options.deployment()
            let status = try await KeyEncryptionKeyStatus.read(deployment)
            let successor = try settings.newKekSource.map { try $0.read().id }
            let next = Self.next(status, deployment.kek, successor)
            options.report(Self.json(status, deployment.kek, successor, next), Self.text(status, deployment.kek, successor, next))
        }

        /// A sentence that tells the operator the next step of the rotation of the key-encryption key.
        private static func next(_ status: KeyEncryptionKeyStatus, _ kek: KeyEncryptionKey, _ successor: String?) -> String {
            let target = successor ?? kek.id
            if let successor, status.replaced.contains(where: { $0.id == successor }) {
                return
                    "The new key \(successor) was replaced before and can't be used again. Make another key: fieldseal kek create."
            }
            if status.uses.contains(where: { $0.kekID != target }) {
                let without = status.servers.filter { !$0.kekIDs.contains(target) }
                guard without.isEmpty else {
                    let hosts = without.map(\.host).joined(separator: ", ")
                    return "Name both keys in the settings of the servers on \(hosts), and restart them; then fieldseal kek rotate."
                }
                return successor == nil
                    ? "Something is under a key that the settings don't name: fieldseal doctor." : "Run fieldseal kek rotate."
            }
            let waiting = status.replaced.filter { !$0.isRetired }.map(\.id)
            guard waiting.isEmpty else {
                return
                    "Everything is under \(target). Name it alone in the settings, restart the servers, then fieldseal kek retire."
            }
            let old = status.servers.filter { server in status.replaced.contains { server.kekIDs.contains($0.id) } }
            return old.isEmpty
                ? "There is nothing to do."
                : "The servers on \(old.map(\.host).joined(separator: ", ")) were started with a key that was retired later. "
                    + "Restart them."
        }

        private static func text(
            _ status: KeyEncryptionKeyStatus, _ kek: KeyEncryptionKey, _ successor: String?, _ next: String
        ) -> String {
            var lines = ["in force: \(kek.id)"]
            if let successor, successor != kek.id { lines.append("new: \(successor)") }
            lines += status.uses.map { "under \($0.kekID): \($0.count) \($0.what)" }
            lines += status.replaced.map { replaced in
                "replaced: \(replaced.id) by \(replaced.successorID) on \(ISO8601.text(replaced.replacedOn))"
                    + (replaced.retiredOn.map { ", retired on \(ISO8601.text($0))" } ?? ", not retired yet")
            }
            lines += status.servers.map { server in
                "server on \(server.host), since \(ISO8601.text(server.startedOn)): knows \(server.kekIDs.joined(separator: ", "))"
            }
            return (lines + [next]).joined(separator: "\n")
        }

        private static func json(
            _ status: KeyEncryptionKeyStatus, _ kek: KeyEncryptionKey, _ successor: String?, _ next: String
        ) -> JSONValue {
            [
                "inForce": .string(kek.id), "new": .text(successor),
                "uses": .array(
                    status.uses.map { ["kekId": .string($0.kekID), "what": .string($0.what), "count": .integer(Int64($0.count))] }),
                "replaced": .array(
                    status.replaced.map {
                        [
                            "kekId": .string($0.id), "successorId": .string($0.successorID),
                            "replacedOn": .string(ISO8601.text($0.replacedOn)), "retiredOn": .text($0.retiredOn.map(ISO8601.text)),
                        ]
                    }),
                "servers": .array(
                    status.servers.map {
                        [
                            "host": .string($0.host), "version": .string($0.version),
                            "startedOn": .string(ISO8601.text($0.startedOn)),
                            "kekIds": .array($0.kekIDs.map { .string($0) }),
                        ]
                    }),
                "next": .string(next),
            ]
        }
    }

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Seal and tag everything under the new key-encryption key, organization by organization, while servers run.",
            discussion: """
                Each organization is finished by itself. After an interruption, run the command again: it continues with the \
                remaining organizations.
                """,
            example: "kek rotate")
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let settings = try await Settings.read(options.settings)
            let databases = settings.allDatabases
            let changing = try databases.filter { try settings.selecting($0).newKekSource != nil }.map(\.name)
            // If several databases change, a database without a new key is no error. A database that was named alone reports
            // what its settings lack.
            let resting = options.database == nil && !changing.isEmpty ? Set(databases.map(\.name)).subtracting(changing) : []
            try await options.inDatabases { try await look($0, isOnly: databases.count == 1, resting) }
            guard databases.count > 1, !options.json else { return }
            CommandOutput.line(Self.next(settings, of: options.database, changing))
        }

        /// A sentence that tells the operator the next step after a rotation in a deployment of several databases.
        private static func next(_ settings: Settings, of chosen: String?, _ changing: [String]) -> String {
            let others = changing.filter { $0 != chosen }
            if let chosen, !others.isEmpty, (try? settings.selecting(chosen))?.hasOwnKek != true {
                return
                    "The other databases were not examined. Run fieldseal kek rotate without --database before you name the new "
                    + "key alone."
            }
            let these = chosen ?? (changing.count == settings.allDatabases.count ? nil : changing.joined(separator: ", "))
            return
                "This holds for \(these ?? "all databases"). Name the new key alone in the settings of every server, restart them, and run "
                + "fieldseal kek retire."
        }

        /// - Parameters:
        ///   - isOnly: Whether there is no other database.
        ///   - resting: Databases that get no new key, although other databases get one.
        private func look(_ options: CommandOptions, isOnly: Bool, _ resting: Set<String>) async throws {
            let (deployment, settings) = try await options.deployment()
            if let name = options.database, resting.contains(name) {
                return options.report(
                    ["kekId": .string(deployment.kek.id), "done": true, "organizations": []],
                    "The settings name no new key-encryption key for this database. It stays under \(deployment.kek.id).")
            }
            guard let new = try settings.newKekSource?.read() else {
                throw CommandFailure(
                    "The settings name no new key-encryption key. Make one with fieldseal kek create, and name it in newKek.file (newKekFiles "
                        + "for one of several databases) of every server's settings beside the present one.")
            }
            let registry = OrganizationRegistry(conninfo: settings.migrationDatabase, kek: deployment.kek, policy: settings.policy)
            var outcomes: [KeyEncryptionKeyRotation.Outcome] = []
            let isWhole = try await KeyEncryptionKeyRotation(registry, deployment, to: new).run(by: commandLineCaller) { outcome in
                outcomes.append(outcome)
                guard !options.json else { return }
                options.report(
                    .null,
                    "\(outcome.organization): "
                        + (outcome.problem ?? "\(outcome.count ?? 0) keys, secrets and tags were sealed or made again")
                )
            }
            options.report(
                [
                    "kekId": .string(new.id), "done": .bool(isWhole),
                    "organizations": .array(
                        outcomes.map {
                            [
                                "organization": .string($0.organization), "count": $0.count.map { .integer(Int64($0)) } ?? .null,
                                "problem": .text($0.problem),
                            ]
                        }),
                ],
                isWhole
                    ? isOnly
                        ? "Everything is under \(new.id). Name it alone in the settings of every server, restart them, and run fieldseal kek retire."
                        : "Everything in this database is under \(new.id)."
                    : "Not everything is under \(new.id) yet. Correct what is named above, and run fieldseal kek rotate again.")
            if !isWhole { throw ExitCode.failure }
        }
    }

    struct Retire: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Retire key-encryption keys that were replaced. From then on, no program accepts them.",
            example: "kek retire")
        @OptionGroup var options: CommandOptions

        func run() async throws {
            try await checkAll()
            try await options.inDatabases(look)
        }

        /// Checks all databases before a key is retired in one of them. A database that has retired a key can't open an
        /// organization that is still under this key and is moved there from another database.
        private func checkAll() async throws {
            let databases = try await Settings.read(options.settings).allDatabases
            guard databases.count > 1 else { return }
            var censuses: [KeyEncryptionKeyRotation.Census] = []
            for database in databases {
                var selected = options
                selected.database = database.name
                do {
                    let deployment = try await selected.deployment().0
                    censuses.append(
                        .init(database.name, try await KeyEncryptionKeyStatus.read(deployment), inForce: deployment.kek.id))
                } catch let code as ExitCode {
                    // `deployment()` printed the error before it threw the exit code.
                    let words = "So nothing was retired in any database: \(database.name) was not examined."
                    FileHandle.standardError.write(Data("\(words)\n".utf8))
                    throw code
                } catch {
                    let words = (error as? FieldsealError)?.message ?? "\(error)"
                    throw CommandFailure(
                        "The database \(database.name) could not be examined, so nothing was retired in any database: \(words)")
                }
            }
            try KeyEncryptionKeyRotation.checkRetiring(censuses)
        }

        @Sendable private func look(_ options: CommandOptions) async throws {
            let (deployment, settings) = try await options.deployment()
            let registry = OrganizationRegistry(conninfo: settings.migrationDatabase, kek: deployment.kek, policy: settings.policy)
            let retired = try await KeyEncryptionKeyRotation(registry, deployment, to: deployment.kek).retire(by: commandLineCaller)
            options.report(
                ["retired": .array(retired.map { .string($0) })],
                retired.isEmpty
                    ? "No key-encryption key was waiting to be retired."
                    : "Retired \(retired.joined(separator: ", ")). "
                        + (settings.allDatabases.count > 1
                            ? "Keep it while another database is under it (fieldseal kek status), or while an older backup needs it."
                            : "Older backups still need it: destroy its copies when the last of these backups is gone."))
        }
    }
}
