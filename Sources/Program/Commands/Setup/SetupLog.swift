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

    init(json: Bool) { self.json = json }

    func step(_ name: String, _ command: String) {
        current = name
        if !json { print("\(name)  (\(command))") }
    }

    func done(_ text: String) {
        steps.append(["step": .string(current), "result": .string(text)])
        if !json { print("    \(text)") }
    }

    func left(_ text: String) { remaining.append(text) }

    func secret(_ id: UUID, _ secret: String) {
        credentials = [.init("clientId", .string(id.text)), .init("clientSecret", .string(secret))]
        if !json {
            print("    client id      \(id.text)\n    client secret  \(secret)\n    It is shown this once and stored nowhere.")
        }
    }

    func end() {
        if json {
            let members: [JSONValue.Member] = [.init("steps", .array(steps)), .init("left", .array(remaining.map { .string($0) }))]
            print(String(decoding: JSONValue.object(members + credentials).utf8, as: UTF8.self))
        } else {
            print(remaining.isEmpty ? "Next: fieldseal serve, or systemctl enable --now fieldseal." : "Left to do:")
            for text in remaining { print("    \(text)") }
        }
    }
}
