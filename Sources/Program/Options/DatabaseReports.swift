import ArgumentParser
import Foundation
import JSON
import Model
import Organizations
import PostgresClient
import Synchronization
import Tenancy

/// The output of a command for one of several databases. The output is printed when the work in that database ends, so that lines
/// don't mix.
final class DatabaseReports: Sendable {
    @TaskLocal static var current: DatabaseReports?

    private let database: String
    private let lines = Mutex<[(json: JSONValue, text: String)]>([])

    init(_ database: String) { self.database = database }

    func add(_ json: JSONValue, _ text: String) { lines.withLock { $0.append((json, text)) } }

    /// Prints everything: JSON with the database's name, one value a line; or text under its name.
    func show(json: Bool) {
        let lines = lines.withLock(\.self)
        if !json { CommandOutput.line("Database \(database):") }
        for line in lines {
            guard json else {
                CommandOutput.line(line.text)
                continue
            }
            let name = JSONValue.Member("database", .string(database))
            let value: JSONValue =
                if case .object(let members) = line.json { .object([name] + members) } else {
                    .object([name, .init("report", line.json)])
                }
            CommandOutput.line(String(decoding: value.utf8, as: UTF8.self))
        }
    }
}
