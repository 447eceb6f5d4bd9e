import ArgumentParser
import Foundation
import JSON
import Migrations
import Synchronization

extension Migrate.Up {
    /// Applies the pending migrations and rolls them back. Prints how long each migration took, and which tables it locked.
    func rehearse(_ settings: Settings) async throws {
        let hasFailed = Mutex(false)
        let isJSON = options.json
        let runner = MigrationRunner(conninfo: settings.migrationDatabase, completion: settings.attestationUpgrade())
        try await runner.rehearse(organization: organization) { [options] rehearsal in
            if rehearsal.error != nil { hasFailed.withLock { $0 = true } }
            options.report(rehearsal.json, rehearsal.text)
        }
        if !isJSON { CommandOutput.line("Everything was rolled back.") }
        if hasFailed.withLock({ $0 }) { throw ExitCode.failure }
    }
}

extension MigrationRunner.Rehearsal {
    fileprivate var json: JSONValue {
        let steps: [JSONValue] = steps.map { step in
            let locks: [JSONValue] = step.locks.map { ["table": .string($0.table), "mode": .string($0.mode)] }
            return ["name": .string(step.name), "milliseconds": .integer(step.milliseconds), "locks": .array(locks)]
        }
        return [
            "target": .string("\(target)"), "rehearsed": .array(steps), "error": .text(error.map { "\($0)" }),
            "notes": .array(notes.map { .string($0) }),
        ]
    }

    fileprivate var text: String {
        if let error { return "\(target): \(error)" }
        if steps.isEmpty { return "\(target): nothing to do" }
        let lines = steps.map { step in
            let locks = step.locks.map { "\n    \($0.mode) on \($0.table)" }.joined()
            return "\(target): \(step.name), \(step.milliseconds) ms\(locks)"
        }
        return (lines + notes).joined(separator: "\n")
    }
}
