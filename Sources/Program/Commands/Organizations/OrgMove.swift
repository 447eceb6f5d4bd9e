import ArgumentParser
import Foundation
import JSON
import Organizations
import Tenancy

extension Org {
    struct Move: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move an organization to another database of the deployment.",
            discussion: """
                Reads and writes continue while the data is copied and compared. At the end, writes wait, usually for less than a \
                second, and requests get 503 for a moment. A rehearsal says how long. Clients, people, keys and tokens stay as \
                they are. After an interruption, run the command again: it finishes or undoes the move.
                """,
            example: "org move contoso --to east --rehearse")
        @Argument(help: "The organization.") var name: String
        @Option(help: ArgumentHelp("The database to move the organization to, by its name in the settings.", valueName: "database"))
        var to: String
        @Flag(help: "Do everything but the last step, and say how long writes would wait. No write waits meanwhile.") var rehearse =
            false
        @Option(
            help: ArgumentHelp(
                "Seconds that writes may wait at the end. If rows are written too fast for that, the move gives up.",
                valueName: "seconds"))
        var longestPause = OrganizationMove.defaultPause / .seconds(1)
        @OptionGroup var options: CommandOptions

        func validate() throws {
            guard longestPause > 0, longestPause <= Self.pauseLimit else {
                throw ValidationError("--longest-pause is a number of seconds above 0 and up to \(Int(Self.pauseLimit)).")
            }
        }

        private static let pauseLimit = 3_600.0

        func run() async throws {
            let settings = try await Settings.read(options.settings)
            guard settings.allDatabases.count > 1 else {
                throw CommandFailure("The deployment has one database. Name another one in databases of the settings first.")
            }
            // A closed output pipe must not end the process during a move.
            signal(SIGPIPE, SIG_IGN)
            var places: [OrganizationMove.Place] = []
            for database in settings.allDatabases {
                var selected = options
                selected.database = database.name
                let (deployment, settings) = try await selected.deployment()
                let registry = OrganizationRegistry(
                    conninfo: settings.migrationDatabase, kek: deployment.kek, policy: deployment.policy)
                places.append(OrganizationMove.Place(name: database.name, registry: registry))
            }
            let isQuiet = options.json
            let move = try await OrganizationMove(
                name, among: places, to: to, isRehearsal: rehearse, longestPause: .seconds(longestPause), by: commandLineCaller
            ) { text in
                guard !isQuiet else { return }
                FileHandle.standardError.write(Data("\(text)\n".utf8))
            }
            report(try await move.run())
        }

        private func report(_ summary: OrganizationMove.Summary) {
            let milliseconds = summary.pause.map { String(format: "%.0f", $0 / .milliseconds(1)) }
            let copied = milliseconds.map {
                "\(summary.rows) rows of \(summary.tables) tables were copied and compared while writes went on. At the end they "
                    + "\(rehearse ? "would wait" : "waited") \($0) ms."
            }
            options.report(
                [
                    "organization": .string(name), "id": .string(summary.organization.id.text), "from": .string(summary.from),
                    "to": .string(summary.to), "rehearsal": .bool(rehearse), "tables": .integer(Int64(summary.tables)),
                    "rows": .integer(Int64(summary.rows)), "rounds": .integer(Int64(summary.rounds)),
                    "pauseMilliseconds": milliseconds.map { .number($0) } ?? .null,
                ],
                rehearse
                    ? "\(name) can be moved from \(summary.from) to \(summary.to). \(copied ?? "") Nothing was changed."
                    : "\(name) is in the database \(summary.to) now. \(copied ?? "An earlier move was ended.")")
        }
    }
}
