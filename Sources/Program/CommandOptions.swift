import ArgumentParser
import CellCrypto
import Foundation
import Glibc
import JSON
import Logging
import Model
import Organizations
import PostgresClient
import Tenancy

/// Options of every command that uses a deployment.
struct CommandOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The settings file.", valueName: "file"))
    var settings: String?

    @Flag(help: "Print JSON.")
    var json = false

    @Option(help: ArgumentHelp("One of the databases that the settings name; may be left out.", valueName: "name"))
    var database: String?

    /// The named database, or the only one.
    ///
    /// - Parameter comparesKey: Whether to end the command if the key-encryption key is not the deployment's, before it reads or
    ///   writes anything under it. The doctor reports that itself.
    /// - Throws: An exit code of 78 (`EX_CONFIG`) for the wrong key-encryption key, after printing a message.
    func deployment(comparesKey: Bool = true) async throws -> (Deployment, Settings) {
        let settings = try await readSettings()
        var kek = try settings.startingKeyEncryptionKey()
        let pool = ConnectionPool(.init(conninfo: settings.database, limit: 4, applicationName: "fieldseal command"))
        try await PoolerCheck.refuseTransactionPooling(settings.database)
        // For the lifetime of the process.
        if let watch = PrimaryWatch(conninfo: settings.database) { Task { await watch.run() } }
        if comparesKey {
            do {
                kek = try await KeyEncryptionKeyCheck.check(kek, on: pool)
            } catch let error where error is WrongKeyEncryptionKey || error is RetiredKeyEncryptionKey {
                FileHandle.standardError.write(Data("Error: \(error)\n".utf8))
                throw ExitCode(EX_CONFIG)
            }
        }
        return (Deployment(conninfo: settings.database, pool: pool, kek: kek, policy: settings.policy), settings)
    }

    /// Runs a closure that needs the database, and reports an unreachable one in the same way everywhere.
    ///
    /// - Throws: `ExitCode` 3 when the database is unreachable.
    func reachingDatabase(_ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch let error as PostgresError where error.isConnectionLoss {
            let words = "The database can't be reached: \(error)"
            if json || DatabaseReports.current != nil {
                report(["error": .string(words)], words)
            } else {
                FileHandle.standardError.write(Data("fieldseal: \(words)\n".utf8))
            }
            throw ExitCode(3)
        }
    }

    /// The error of one of several organizations.
    ///
    /// - Throws: The error itself when the database is unreachable, because it concerns all of them.
    func words(for error: any Error) throws -> String {
        if let error = error as? PostgresError, error.isConnectionLoss { throw error }
        return (error as? FieldsealError)?.message ?? "\(error)"
    }

    /// Prints JSON, or text for people.
    func report(_ json: JSONValue, _ text: String) {
        if let reports = DatabaseReports.current { return reports.add(json, text) }
        print(self.json ? String(decoding: json.utf8, as: UTF8.self) : text)
    }
}

/// The organization of a command.
struct OrganizationOption: ParsableArguments {
    @Option(
        name: [.customLong("org")], help: ArgumentHelp("The organization. Not needed if there is only one.", valueName: "name"))
    var name: String?

    /// A session in the organization, in the database that has it.
    func session(_ options: CommandOptions, isInspection: Bool = false) async throws -> Session {
        try await session(options.deployment(of: name).0, isInspection: isInspection)
    }

    /// A session of the command line's user in the organization.
    ///
    /// - Parameter isInspection: Whether the command only reads, and so works even if the organization's state does not verify.
    /// - Throws: ``CommandFailure`` that lists the organizations if this one does not exist.
    func session(_ deployment: Deployment, isInspection: Bool = false) async throws -> Session {
        let name = try await resolved(deployment)
        do {
            return try await Session.begin(
                deployment, organization: name, caller: commandLineCaller, isInspection: isInspection)
        } catch let error as FieldsealError where error.code == .noResource {
            let names = try await OrganizationEntry.list(deployment).map(\.organization.name)
            // The row exists and the schema does not. The error itself says more.
            guard !names.contains(name) else { throw error }
            throw CommandFailure(
                "There is no organization \(name)"
                    + (names.isEmpty ? " yet: fieldseal org create NAME." : "; there are: \(CommandOptions.listed(names))."))
        }
    }

    /// The named organization, or the only one.
    func resolved(_ deployment: Deployment) async throws -> String {
        if let name { return name }
        let organizations = try await OrganizationEntry.list(deployment).map(\.organization.name)
        guard let only = organizations.first, organizations.count == 1 else {
            guard !organizations.isEmpty else { throw CommandFailure("There is no organization yet: fieldseal org create NAME.") }
            // The usage text would not list the organizations.
            FileHandle.standardError.write(Data("Error: Name one with --org: \(CommandOptions.listed(organizations)).\n".utf8))
            throw ExitCode.validationFailure
        }
        return only
    }

}

extension CommandOptions {
    /// Names for a message. Of many, only the first ones.
    static func listed(_ names: [String]) -> String {
        let more = names.count - listLimit
        return names.prefix(listLimit).joined(separator: ", ") + (more > 0 ? " and \(more) more" : "")
    }

    private static let listLimit = 20
}

/// The organizations of a command that works on all of them by default.
struct OrganizationsOption: ParsableArguments {
    @Option(
        name: [.customLong("org")], help: ArgumentHelp("Only this organization. Without it, all of them.", valueName: "name"))
    var name: String?

    /// The same for an operation that needs one organization.
    var one: OrganizationOption {
        var option = OrganizationOption()
        option.name = name
        return option
    }
}

/// The reason for which a command failed, if its arguments were right.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// The actor of what the command line does.
var commandLineCaller: Caller {
    let name = getpwuid(getuid()).flatMap { String(cString: $0.pointee.pw_name) } ?? "uid \(getuid())"
    return .commandLine(user: name)
}

/// Reads a secret: from a file whose mode is checked, from a terminal without echo, or from standard input.
enum SecretInput {
    static func read(prompt: String, file: String?) throws -> String {
        if let file {
            let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int ?? 0o777
            guard mode & 0o077 == 0 else {
                throw CommandFailure("Others may read \(file) (mode \(String(mode, radix: 8))): chmod 0400 \(file).")
            }
            return try firstLine(String(contentsOfFile: file, encoding: .utf8), prompt)
        }
        guard isatty(STDIN_FILENO) == 1 else { return try firstLine(Swift.readLine(strippingNewline: true) ?? "", prompt) }
        guard let text = getpass("\(prompt): ") else { throw CommandFailure("Nothing was typed.") }
        return try firstLine(String(cString: text), prompt)
    }

    private static func firstLine(_ text: String, _ prompt: String) throws -> String {
        let line = text.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false).first.map(String.init) ?? ""
        guard !line.isEmpty else { throw CommandFailure("The \(prompt.lowercased()) is empty. Nothing was changed.") }
        guard !line.utf8.contains(0) else {
            throw CommandFailure(
                "The \(prompt.lowercased()) has the character U+0000, which no text may hold. Nothing was changed.")
        }
        return line.hasSuffix("\r") ? String(line.dropLast()) : line
    }
}
