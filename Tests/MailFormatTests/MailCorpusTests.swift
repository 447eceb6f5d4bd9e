import Foundation
import MailFormat
import Testing

/// Parses real messages from reports about other mail systems. `Tests/Fixtures/mail` has each message with its expected values.
@Suite("Messages from reports about other mail programs")
struct MailCorpusTests {
    /// The expectations for a message. A value that is nil is not checked.
    struct Expectation: Decodable {
        let subject: String?
        let from: String?
        let to: [String]?
        let cc: [String]?
        let messageID: String?
        /// The body without white space at its ends, and texts that it must or must not contain. All are in Unicode's normal form
        /// C.
        let body: String?
        let bodyContains: [String]?
        let bodyLacks: [String]?
        /// Names in order. Null stands for any name that is not empty.
        let attachments: [String?]?
        /// A text that the first attachment contains.
        let attachmentContains: String?
        /// The name of the file in which the original message or its header is kept, because a part can't be represented. Null if
        /// neither is kept.
        let original: String?
        /// One of the ids of the messages that the message answers.
        let answers: String?
        /// The date as ISO 8601 in UTC. A message with a date that can't be read has a note of its header.
        let date: String?
    }

    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Fixtures/mail")

    static let expectations: [(name: String, expectation: Expectation)] = {
        let data = (try? Data(contentsOf: folder.appending(path: "expected.json"))) ?? Data()
        let all = (try? JSONDecoder().decode([String: Expectation].self, from: data)) ?? [:]
        return all.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }()

    static func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: folder.appending(path: "\(name).eml"))) }

    @Test("Every message in the folder has an expectation, and there are at least 200 messages")
    func isComplete() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path()).filter { $0.hasSuffix(".eml") }
        #expect(Set(files) == Set(Self.expectations.map { "\($0.name).eml" }))
        #expect(files.count >= 200)
    }

    @Test("The parsed message has the values of its expectation", arguments: expectations.map(\.name))
    func message(_ name: String) throws {
        let expected = try #require(Self.expectations.first { $0.name == name }?.expectation)
        let message = MailMessage(try Self.bytes(name))
        if let subject = expected.subject { #expect(message.subject == subject) }
        if let from = expected.from { #expect(message.from == from) }
        if let to = expected.to { #expect(message.to == to) }
        if let cc = expected.cc { #expect(message.cc == cc) }
        if let id = expected.messageID { #expect(message.messageID == id) }
        let body = message.body.precomposedStringWithCanonicalMapping
        if let whole = expected.body { #expect(body.trimmingCharacters(in: .whitespacesAndNewlines) == whole) }
        for text in expected.bodyContains ?? [] { #expect(body.contains(text), "\(text) is missing in \(body)") }
        for text in expected.bodyLacks ?? [] { #expect(!body.contains(text), "\(text) is in \(body)") }
        if let names = expected.attachments {
            let found = message.attachments.map(\.name)
            #expect(found.count == names.count, "\(found)")
            for (name, found) in zip(names, found) { #expect(name == nil || name == found) }
        }
        if let words = expected.attachmentContains, let file = message.attachments.first {
            #expect(String(decoding: file.bytes, as: UTF8.self).contains(words))
        }
        #expect(message.original(of: try Self.bytes(name))?.name == expected.original)
        if let date = expected.date { #expect(message.date?.ISO8601Format() == date) }
        if let id = expected.answers { #expect(message.references.contains(id)) }
        #expect(message.attachments.allSatisfy { !$0.name.isEmpty && !$0.name.contains("/") && !$0.name.contains("\0") })
    }
}
