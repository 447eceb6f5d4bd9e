import ArgumentParser
import CellCrypto
import Foundation
import Glibc
import JSON
import KeyManagement
import Model
import SystemPackage
import Tenancy

/// The command `key`, which shows and changes an organization's key.
struct Key: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show, change and activate an organization's key.",
        subcommands: [
            Status.self, Show.self, Change.self, Rehearse.self, Cancel.self, Activate.self, History.self, Purge.self, Control.self,
        ])

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the state of the key, but not the key itself.",
            example: "key status --org contoso")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let session = try await organization.session(options)
            let status = try await KeyAdministration(session, to: .see).encryptionStatus()
            options.report(
                .object([.init("organization", .string(session.organization.name))] + status.members),
                "\(session.organization.name)\n\(status.text)")
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the key's text, to keep it in a safe place outside of the deployment. A security event records this.",
            example: "key show --org contoso --file /mnt/safe/contoso.key")
        @Option(
            name: .customLong("version"),
            help: ArgumentHelp("Print this retired version, which opens backups of its time.", valueName: "number"))
        var keyVersion: Int?
        @Option(help: ArgumentHelp("The fingerprint of the key, if several keys have that version.", valueName: "16 digits"))
        var fingerprint: String?
        @Option(help: ArgumentHelp("Write the key to this file instead, readable by its owner alone.", valueName: "file"))
        var file: String?
        @Flag(help: "Replace the file of --file if it exists.") var force = false
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func validate() throws {
            guard fingerprint == nil || keyVersion != nil else { throw ValidationError("--fingerprint needs --version.") }
            guard !force || file != nil else { throw ValidationError("--force needs --file.") }
        }

        func run() async throws {
            let session = try await organization.session(options)
            // The file is checked before the key is read, because reading the key is recorded.
            let output = try file.map { try KeyOutput($0, replacing: force) }
            let keys = try await KeyAdministration(session, to: .read)
            // The key counts as copied only once all of it is written.
            let deliver: @Sendable (OrganizationKeyText) throws -> Void = { [options] key in
                if let output { return try output.write(key) }
                try key.withString { try options.requiredReport(["key": .string($0)], $0) }
            }
            do {
                if let keyVersion {
                    _ = try await keys.retrieveKey(version: keyVersion, fingerprint: fingerprint, deliver: deliver)
                } else {
                    _ = try await keys.retrieveDataEncryptionKey(deliver: deliver)
                }
            } catch {
                output?.discard()
                throw error
            }
            guard let file else { return }
            options.report(["file": .string(file)], "Wrote the key to \(file). Keep it apart from exports and backups.")
        }
    }

    struct Change: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change the key: every cell is sealed again, in one transaction, while people and programs go on working.",
            discussion: """
                Without --own a strong key is generated. The key's text is the only secret in a dump. An attacker with the \
                dump can guess keys, and finds ten characters that a person chose in a short time.
                """,
            example: "key change --org contoso")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions
        @Flag(help: "Use a key of your own, from the terminal or standard input.") var own = false
        @Option(help: ArgumentHelp("Use a key of your own from this file (mode 0400 or 0600).", valueName: "file"))
        var keyFile: String?

        @Flag(
            help: ArgumentHelp(
                "Move each cell that can't be decrypted to quarantine, as after a disaster. The command asks you to type a word."))
        var skipUnreadable = false

        func run() async throws {
            let session = try await organization.session(options)
            let text = own || keyFile != nil ? try SecretInput.read(prompt: "New key", file: keyFile) : nil
            if let text, let weakness = KeyStrength.weakness(of: text) {
                FileHandle.standardError.write(Data("fieldseal: warning: this key looks guessable: \(weakness)\n".utf8))
            }
            if skipUnreadable { try Self.confirm() }
            let bar = ProgressBar()
            let summary = try await KeyAdministration(session, to: .change).changeKey(
                to: text, options: KeyChangeOptions(skipsUnreadable: skipUnreadable, onProgress: options.json ? nil : bar.show))
            bar.end()
            let seconds = String(format: "%.2f", summary.duration / .seconds(1))
            let pause = String(format: "%.1f", summary.pause / .milliseconds(1))
            let quarantined = summary.quarantined.map { "\n\($0): moved to quarantine" }.joined()
            options.report(
                [
                    "organization": .string(session.organization.name), "keyVersion": .integer(Int64(summary.keyVersion)),
                    "fingerprint": .string(summary.fingerprint), "cells": .integer(Int64(summary.cells)),
                    "seconds": .number(seconds), "pauseMilliseconds": .number(pause),
                    "quarantined": .array(summary.quarantined.map { .string($0) }),
                ],
                """
                \(session.organization.name) has key version \(summary.keyVersion), fingerprint \(summary.fingerprint): \
                \(summary.cells) cells in \(seconds) s; writers waited for \(pause) ms.\(quarantined)
                Next: copy the key to a safe place outside of the deployment: fieldseal key show.
                """)
        }

        private static func confirm() throws {
            FileHandle.standardError.write(
                Data("The passwords in cells that do not open are lost to their users. Type quarantine to continue: ".utf8))
            guard Swift.readLine(strippingNewline: true) == "quarantine" else {
                throw CommandFailure("Nothing was changed: the word was not typed.")
            }
        }
    }

    struct Rehearse: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Rehearse a key change: print its duration, its amount of WAL, and which cells don't open. Then roll it back.",
            example: "key rehearse --org contoso")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let session = try await organization.session(options)
            let bar = ProgressBar()
            let summary = try await KeyAdministration(session, to: .rehearse).rehearseKeyChange(
                options: KeyChangeOptions(onProgress: options.json ? nil : bar.show))
            bar.end()
            let seconds = String(format: "%.2f", summary.duration / .seconds(1))
            let pause = String(format: "%.1f", summary.lastCatchUp / .milliseconds(1))
            options.report(
                [
                    "organization": .string(session.organization.name), "cells": .integer(Int64(summary.cells)),
                    "seconds": .number(seconds), "walBytes": .integer(Int64(summary.walBytes)),
                    "lastCatchUpMilliseconds": .number(pause),
                    "unreadable": .array(summary.unreadable.map { .string($0) }),
                ],
                """
                \(session.organization.name): \(summary.cells) cells in \(seconds) s, \(summary.walBytes) bytes of WAL. \
                Nothing was changed. Writers would wait for about \(pause) ms and the switch itself, a few milliseconds.
                """ + summary.unreadable.map { "\n\($0)" }.joined())
            if !summary.unreadable.isEmpty { throw ExitCode.failure }
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Stop the key change that is under way. The present key stays in force.",
            example: "key cancel --org contoso")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let session = try await organization.session(options)
            let isCancelled = try await KeyAdministration(session, to: .cancel).cancelKeyChange()
            options.report(
                ["organization": .string(session.organization.name), "cancelled": .bool(isCancelled)],
                isCancelled ? "The key change was asked to stop." : "No key change is under way.")
            if !isCancelled { throw ExitCode.failure }
        }
    }

    struct Purge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a retired key. Afterwards, backups from its time open only with the key's text.",
            discussion: "Without --yes, the command removes nothing, and says which backups would need the key's text.",
            example: "key purge 3 --org contoso")
        @Argument(help: "The version of the retired key.") var keyVersion: Int
        @Flag(help: "Remove the key.") var yes = false
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let session = try await organization.session(options)
            guard yes else {
                let known = try await KeyAdministration(session, to: .see).keyHistory().filter {
                    $0.keyVersion == keyVersion && $0.purgedOn == nil
                }
                if known.contains(where: { $0.retiredOn == nil }) {
                    throw CommandFailure(
                        "Version \(keyVersion) is in force, and can't be purged. Change the key first: fieldseal key change.")
                }
                let spans = known.map { "from \(ISO8601.text($0.createdOn)) to \($0.retiredOn.map(ISO8601.text) ?? "now")" }
                throw CommandFailure(
                    known.isEmpty
                        ? "There is no key of version \(keyVersion) to purge."
                        : "Backups \(spans.joined(separator: " and ")) would need the text of key version \(keyVersion) to be opened. "
                            + "Copy it first (fieldseal key show --version \(keyVersion)), then add --yes.")
            }
            let purged = try await KeyAdministration(session, to: .purge).purgeKey(version: keyVersion)
            options.report(
                .array(
                    purged.map {
                        [
                            "keyVersion": .integer(Int64($0.keyVersion)), "fingerprint": .string($0.fingerprint),
                            "unreadableFrom": .string(ISO8601.text($0.from)), "unreadableUntil": .string(ISO8601.text($0.until)),
                        ]
                    }),
                purged.map {
                    "Purged key version \($0.keyVersion), fingerprint \($0.fingerprint). Backups taken between "
                        + "\(ISO8601.text($0.from)) and \(ISO8601.text($0.until)) open with its text alone."
                }.joined(separator: "\n"))
        }
    }

    struct Activate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Activate an organization that needs its key, with the key's text from the terminal or standard input.",
            example: "key activate --org contoso --key-file /mnt/safe/contoso.key")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions
        @Option(
            name: [.customLong("key-file"), .customLong("file")],
            help: ArgumentHelp("Read the key from this file (mode 0400 or 0600).", valueName: "file"))
        var keyFile: String?

        func run() async throws {
            let (deployment, _) = try await options.deployment(of: organization.name)
            let session = try await organization.session(deployment)
            let text = try SecretInput.read(prompt: "Key", file: keyFile)
            do {
                try await KeyAdministration(session, to: .activate).setDataEncryptionKey(text, change: false)
            } catch let error as FieldsealError where error.code == .isActiveCannotRestore {
                throw CommandFailure(
                    "The encryption of \(session.organization.name) is active, so there is nothing to activate. To set another key: "
                        + "fieldseal key change --own --org \(session.organization.name).")
            }
            let status = try await KeyAdministration(organization.session(deployment), to: .see).encryptionStatus()
            options.report(.object(status.members), status.text)
        }
    }

    struct History: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the key's versions, the newest first.",
            example: "key history --org contoso")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let entries = try await KeyAdministration(organization.session(options), to: .see).keyHistory()
            options.report(
                .array(
                    entries.map { entry in
                        [
                            "keyVersion": .integer(Int64(entry.keyVersion)), "fingerprint": .string(entry.fingerprint),
                            "origin": .string(entry.origin), "createdOn": .string(ISO8601.text(entry.createdOn)),
                            "createdBy": .string(entry.createdBy), "createdFrom": .text(entry.createdFrom),
                            "retiredOn": .text(entry.retiredOn.map(ISO8601.text)),
                            "cells": entry.cells.map { .integer(Int64($0)) } ?? .null,
                            "seconds": entry.duration.map { .number(String(format: "%.3f", $0)) } ?? .null,
                            "pauseMilliseconds": entry.pause.map { .number(String(format: "%.1f", $0 * 1_000)) } ?? .null,
                            "purgedOn": .text(entry.purgedOn.map(ISO8601.text)),
                            "rotationId": .string(entry.changeID.text),
                        ]
                    }),
                entries.map { entry in
                    "\(entry.keyVersion)  \(entry.fingerprint)  \(ISO8601.text(entry.createdOn))  \(entry.origin) by \(entry.createdBy)"
                        + (entry.cells.map { "  \($0) cells" } ?? "")
                        + (entry.duration.map { String(format: "  %.2f s", $0) } ?? "")
                        + (entry.createdFrom.map { "  from \($0)" } ?? "")
                        + (entry.retiredOn == nil ? "  current" : entry.purgedOn == nil ? "  retired" : "  purged")
                }.joined(separator: "\n"))
        }
    }
}

/// A new file for the key, readable only by its owner under any umask.
private struct KeyOutput {
    private let file: FileDescriptor
    private let path: String

    init(_ path: String, replacing: Bool) throws {
        self.path = path
        if replacing { try? FileManager.default.removeItem(atPath: path) }
        do {
            file = try FileDescriptor.open(
                FilePath(path), .writeOnly, options: [.create, .exclusiveCreate, .noFollow, .closeOnExec],
                permissions: .ownerReadWrite)
        } catch Errno.fileExists {
            throw CommandFailure("\(path) exists. Give the file another name, or replace it with --force.")
        } catch let error as Errno {
            throw CommandFailure("The file \(path) can't be written: \(error). The key was not read.")
        }
        _ = fchmod(file.rawValue, 0o600)
    }

    /// Deletes the file.
    func discard() { try? FileManager.default.removeItem(atPath: path) }

    /// Writes the key to the disk. An incomplete file is deleted.
    func write(_ key: OrganizationKeyText) throws {
        do {
            try file.closeAfter {
                try key.withString { _ = try file.writeAll("\($0)\n".utf8) }
                guard fsync(file.rawValue) == 0, FolderSync.waitForEntry(of: path) else { throw Errno(rawValue: errno) }
            }
        } catch let error as Errno {
            discard()
            throw CommandFailure("The file \(path) can't be written: \(error). It was deleted.")
        }
    }
}
