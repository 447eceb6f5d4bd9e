import JSON
import Model
import Testing

@testable import Console

@Suite("Finding the record that a text names")
struct RecordMentionTests {
    private let id = "6f0e8400-e29b-41d4-a716-446655440000"

    @Test("The first record in a text is found, with its attribute")
    func found() throws {
        let cell = try #require(RecordMention(in: "mailbox(\(id)).password does not open"))
        #expect(cell.entity.logicalName == "mailbox" && cell.id.text == id && cell.attribute == "password")
        let record = try #require(RecordMention(in: "see emailserverprofile \(id), and mailbox \(id)"))
        #expect(record.entity.logicalName == "emailserverprofile" && record.attribute == nil)
        #expect(RecordMention(in: "the e-mail \(id)")?.entity.logicalName == "email")
    }

    @Test("All records in a text are found")
    func all() {
        let found = RecordMention.all(in: "e-mail \(id), mailbox \(id): no")
        #expect(found.map(\.entity.logicalName) == ["email", "mailbox"])
    }

    @Test("In a text without an entity's name and a whole id, no record is found")
    func none() {
        for text in ["", id, " \(id)", "cat(\(id))", "mailbox(6f0e8400)", "mailbox-\(id)", String(repeating: "é", count: 40)] {
            #expect(RecordMention(in: text) == nil, "\(text)")
        }
    }
}
