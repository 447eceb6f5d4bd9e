import Foundation

/// `dev.json`: the addresses and credentials of a development deployment, for scripts and people.
struct DevelopmentFile: Codable, Sendable {
    struct Client: Codable, Sendable {
        let clientId: String
        let clientSecret: String
    }

    struct Person: Codable, Sendable {
        let username: String
        /// Nil once the person has changed the password that was made here.
        let password: String?
    }

    var baseURL: String
    var httpURL: String
    var caFile: String
    var organization: String
    var postgres: String
    var clients: [String: Client]
    /// The person who signs in to the console.
    var console: Person?

    static let name = "dev.json"

    static func read(_ home: DevelopmentHome) -> DevelopmentFile? {
        guard let data = FileManager.default.contents(atPath: home.file(name)) else { return nil }
        return try? JSONDecoder().decode(DevelopmentFile.self, from: data)
    }

    func write(_ home: DevelopmentHome) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try home.write(String(decoding: try encoder.encode(self), as: UTF8.self) + "\n", to: Self.name)
    }
}
