import ArgumentParser
import CellCrypto
import Fieldseal
import Foundation

/// An organization's key.
struct Key: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show, change and activate an organization's key.",
        subcommands: [Status.self, Show.self, Change.self, Activate.self, History.self])

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show the state of the key, and no byte of it.")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let session = try await organization.session(options.deployment().0)
            let status = try await session.encryptionStatus()
            options.report(
                .object([.init("organization", .string(session.organization.name))] + status.members),
                "\(session.organization.name)\n\(status.text)")
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the key's text, for a safe place outside of the deployment. It is recorded.")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let session = try await organization.session(options.deployment().0)
            let key = try await session.retrieveDataEncryptionKey()
            key.withString { options.report(["key": .string($0)], $0) }
        }
    }

    struct Change: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change the key: every cell is sealed again, in one transaction.",
            discussion: """
                Without --own a strong key is generated. The key's text is the only secret in a dump: whoever has the dump can \
                try guesses, and ten characters chosen by a person will not hold for long.
                """)
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions
        @Flag(help: "Take a key of your own, from the terminal or standard input.") var own = false
        @Option(help: ArgumentHelp("Take a key of your own from this file (mode 0400 or 0600).", valueName: "file"))
        var keyFile: String?

        func run() async throws {
            let session = try await organization.session(options.deployment().0)
            let text = own || keyFile != nil ? try SecretInput.read(prompt: "New key", file: keyFile) : nil
            if let text, let weakness = KeyStrength.weakness(of: text) {
                FileHandle.standardError.write(Data("fieldseal: warning: this key looks guessable: \(weakness)\n".utf8))
            }
            let summary = try await session.changeKey(to: text)
            let seconds = String(format: "%.2f", summary.duration / .seconds(1))
            options.report(
                [
                    "organization": .string(session.organization.name), "keyVersion": .integer(Int64(summary.keyVersion)),
                    "fingerprint": .string(summary.fingerprint), "cells": .integer(Int64(summary.cells)),
                    "seconds": .number(seconds),
                ],
                """
                \(session.organization.name) has key version \(summary.keyVersion), fingerprint \(summary.fingerprint): \
                \(summary.cells) cells in \(seconds) s.
                Next: copy the key to a safe place outside of the deployment: fieldseal key show.
                """)
        }
    }

    struct Activate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Activate an organization that needs its key, with the key's text from the terminal or standard input.")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions
        @Option(help: ArgumentHelp("Read the key from this file (mode 0400 or 0600).", valueName: "file"))
        var keyFile: String?

        func run() async throws {
            let (deployment, _) = try await options.deployment()
            let session = try await organization.session(deployment)
            try await session.setDataEncryptionKey(try SecretInput.read(prompt: "Key", file: keyFile), change: false)
            let status = try await organization.session(deployment).encryptionStatus()
            options.report(.object(status.members), status.text)
        }
    }

    struct History: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the key's versions, the newest first.")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let entries = try await organization.session(options.deployment().0).keyHistory()
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
                            "rotationId": .string(entry.rotationID.text),
                        ]
                    }),
                entries.map { entry in
                    "\(entry.keyVersion)  \(entry.fingerprint)  \(ISO8601.text(entry.createdOn))  \(entry.origin) by \(entry.createdBy)"
                        + (entry.cells.map { "  \($0) cells" } ?? "")
                        + (entry.duration.map { String(format: "  %.2f s", $0) } ?? "")
                        + (entry.retiredOn == nil ? "  current" : "  retired")
                }.joined(separator: "\n"))
        }
    }
}

/// The key-encryption key.
struct Kek: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make the key-encryption key of a new deployment.", subcommands: [Create.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a new key-encryption key: 64 random bytes in base64, mode 0400. Never overwrites a file.")
        @Argument(help: "Where to put it.") var path: String

        func run() async throws {
            try KeyEncryptionKeyFile.create(at: path)
            print(
                """
                Made \(path) with the id \(try KeyEncryptionKeyFile.read(path).id).
                Keep a copy away from the database's backups: whoever has both can open every organization's cells, and \
                without it each organization's own key is needed.
                """)
        }
    }
}
