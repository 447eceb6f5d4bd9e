import ArgumentParser
import Authentication
import CellCrypto
import Foundation
import JSON
import Migrations
import Organizations
import PostgresClient
import Tenancy

/// The output of `setup`: each step with its command and result, and the remaining steps.
final class SetupLog {
    private let json: Bool
    private var steps: [JSONValue] = []
    private var current = ""
    private var remaining: [String] = []
    private var credentials: [JSONValue.Member] = []
    private var anotherSecret: String?

    init(json: Bool) { self.json = json }

    func step(_ name: String, _ command: String) {
        current = name
        if !json { CommandOutput.line("\(name)  (\(command))") }
    }

    func done(_ text: String) {
        steps.append(["step": .string(current), "result": .string(text)])
        if !json { CommandOutput.line("    \(text)") }
    }

    func left(_ text: String) { remaining.append(text) }

    /// - Parameter another: The command that makes another secret, if this one can't be written.
    func secret(_ id: UUID, _ secret: String, another: String) {
        anotherSecret = another
        credentials = [.init("clientId", .string(id.text)), .init("clientSecret", .string(secret))]
        if !json {
            CommandOutput.line(
                "    client id      \(id.text)\n    client secret  \(secret)\n    The secret is shown only now and stored nowhere.")
        }
    }

    /// - Throws: ``CommandFailure`` if the secret of the client was not written.
    func end() throws {
        if json {
            let members: [JSONValue.Member] = [.init("steps", .array(steps)), .init("left", .array(remaining.map { .string($0) }))]
            CommandOutput.line(String(decoding: JSONValue.object(members + credentials).utf8, as: UTF8.self))
        } else {
            CommandOutput.line(remaining.isEmpty ? "Next: fieldseal serve, or systemctl enable --now fieldseal." : "Left to do:")
            for text in remaining { CommandOutput.line("    \(text)") }
        }
        guard let anotherSecret else { return }
        do { try CommandOutput.requireWritten() } catch let failure as CommandOutput.Failure {
            throw CommandFailure(
                "The client's secret can't be written: \(failure.reason). To create another secret: \(anotherSecret)")
        }
    }
}
