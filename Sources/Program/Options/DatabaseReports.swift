import ArgumentParser
import Foundation
import JSON
import Model
import Organizations
import PostgresClient
import Synchronization
import Tenancy

/// The output of a command for one of several databases. It is printed when the work there ends, so that lines don't mix.
final class DatabaseReports: Sendable {
    @TaskLocal static var current: DatabaseReports?

    private let database: String
    private let lines = Mutex<[(json: JSONValue, text: String)]>([])

    init(_ database: String) { self.database = database }

    func add(_ json: JSONValue, _ text: String) { lines.withLock { $0.append((json, text)) } }

    /// Prints the output: JSON with the database's name, one value a line; or text under its name.
    func print(json: Bool) {
        let lines = lines.withLock(\.self)
        if !json { Swift.print("Database \(database):") }
        for line in lines {
            guard json else {
                Swift.print(line.text)
                continue
            }
            let name = JSONValue.Member("database", .string(database))
            let value: JSONValue =
                if case .object(let members) = line.json { .object([name] + members) } else {
                    .object([name, .init("report", line.json)])
                }
            Swift.print(String(decoding: value.utf8, as: UTF8.self))
        }
        fflush(nil)
    }
}
