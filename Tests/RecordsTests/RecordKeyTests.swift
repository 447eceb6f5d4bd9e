import Foundation
import JSON
import Model
import Testing

@testable import Records

@Suite("Keys of records")
struct RecordKeyTests {
    private static let written = "00000000-0000-0000-0000-00000000000a"

    @Test(
        "An id is read in each form that clients write",
        arguments: [written, written.uppercased(), "mailboxid=\(written)", " MailboxId = \(written)", "mailboxid='\(written)'"])
    func id(text: String) throws {
        guard case .id(let found) = try RecordKey(text, of: .mailbox) else { return #expect(Bool(false), "\(text) is no id") }
        #expect(found == UUID(text: Self.written))
    }

    @Test(
        "An alternate key that was read is written unchanged",
        arguments: ["name='a,b'", "name='it''s',username='x'", "name='',statecode=0", "enabledforact=true,name=null"])
    func roundTrip(text: String) throws {
        #expect(try RecordKey(text, of: .mailbox).text == text)
    }

    @Test("A malformed key is refused", arguments: ["", "x", "name=", "name='a'b'", "name='a", "name=x", "=1", "name='a\u{0}'"])
    func malformed(text: String) {
        #expect(throws: FieldsealError.self) { try RecordKey(text, of: .mailbox) }
    }

    @Test("A new record gets the values of its key, except values that the request gives itself")
    func completed() throws {
        let key = try RecordKey("name='a',processedtimes=3,isforwardmailbox=true", of: .mailbox)
        let members = key.completed([.init("Name", "b")])
        #expect(members.map(\.name) == ["Name", "processedtimes", "isforwardmailbox"])
        #expect(members.map(\.value) == ["b", 3, true])
    }
}
