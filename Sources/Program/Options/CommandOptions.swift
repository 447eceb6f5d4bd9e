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

    @Option(help: ArgumentHelp("A database that the settings name. Not needed if there is only one.", valueName: "name"))
    var database: String?

    /// The deployment in the named database, or in the only one, and its settings.
    ///
    /// - Parameters:
    ///   - comparesKey: Whether to end the command if the key-encryption key is not the deployment's, before it reads or writes
    ///     anything under it. The doctor passes false, because it reports a wrong key itself.
    ///   - lockLimit: How long a statement waits for a lock.
    /// - Throws: An exit code of 78 (`EX_CONFIG`) for the wrong key-encryption key, after printing a message.
    func deployment(comparesKey: Bool = true, lockLimit: Duration = lockLimit) async throws -> (Deployment, Settings) {
        let settings = try await readSettings()
        var kek = try settings.startingKeyEncryptionKey()
        let pool = ConnectionPool(
            .init(conninfo: settings.database, limit: 4, applicationName: "fieldseal command", lockLimit: lockLimit))
        try await PoolerCheck.refuseTransactionPooling(settings.database)
        // The watch runs as long as the process.
        if let watch = PrimaryWatch(conninfo: settings.database) {
            await watch.findPrimary()
            Task { await watch.run() }
        }
        if comparesKey {
            do {
                kek = try await KeyEncryptionKeyCheck.check(kek, on: pool)
            } catch let error where error is WrongKeyEncryptionKey || error is RetiredKeyEncryptionKey {
                // If the command runs in several databases, the report adds the database's name to the error.
                if DatabaseReports.current != nil {
                    report(["error": .string("\(error)")], "Error: \(error)")
                } else {
                    let place = settings.allDatabases.count > 1 ? "the database \(settings.selectedDatabase ?? ""): " : ""
                    FileHandle.standardError.write(Data("Error: \("\(place)\(error)".asTerminalText)\n".utf8))
                }
                throw ExitCode(EX_CONFIG)
            }
        }
        return (Deployment(conninfo: settings.database, pool: pool, kek: kek, policy: settings.policy), settings)
    }

    /// Runs a closure that needs the database. Reports an unreachable database in the same way for all commands.
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

    /// The text of an error that concerns one of several organizations.
    ///
    /// - Throws: The error itself when the database is unreachable, because that concerns all organizations.
    func words(for error: any Error) throws -> String {
        if let error = error as? PostgresError {
            if error.isConnectionLoss { throw error }
            if [.undefinedTable, .undefinedSchema].contains(error.state) { return FieldsealError.lostTable(error.message).message }
        }
        return (error as? FieldsealError)?.message ?? "\(error)"
    }

    /// Prints JSON, or text for people.
    func report(_ json: JSONValue, _ text: String) {
        if let reports = DatabaseReports.current { return reports.add(json, text.asTerminalText) }
        CommandOutput.line(line(json, text))
    }

    /// Prints a text that is shown only once, before the change that belongs to the text is committed.
    ///
    /// - Throws: ``CommandOutput/Failure`` if the text was not written.
    func requiredReport(_ json: JSONValue, _ text: String) throws { try CommandOutput.requiredLine(line(json, text)) }

    /// Prints a secret that is shown only once.
    ///
    /// - Parameter lost: The end of the message if the secret can't be written, such as `No client was added.`
    /// - Throws: ``CommandFailure`` if the text was not written.
    func secretReport(_ json: JSONValue, _ text: String, lost: String) throws {
        do { try requiredReport(json, text) } catch let failure as CommandOutput.Failure {
            throw CommandFailure("The secret can't be written: \(failure.reason). \(lost)")
        }
    }

    private func line(_ json: JSONValue, _ text: String) -> String {
        self.json ? String(decoding: json.utf8, as: UTF8.self) : text.asTerminalText
    }
}

extension CommandOptions {
    /// Names for a message, separated by commas. If there are many names, only the first ones are listed.
    static func listed(_ names: [String]) -> String {
        let more = names.count - listLimit
        return names.prefix(listLimit).joined(separator: ", ") + (more > 0 ? " and \(more) more" : "")
    }

    private static let listLimit = 20

    /// How long a statement of a command waits for a lock of another transaction.
    static let lockLimit = Duration.seconds(10)
}

/// The caller in whose name commands act.
var commandLineCaller: Caller {
    let user = UserName.name(of: getuid())
    return .commandLine(user: user, operatorClaim: UserName.atTheMachine.flatMap { $0 == user ? nil : $0 })
}
