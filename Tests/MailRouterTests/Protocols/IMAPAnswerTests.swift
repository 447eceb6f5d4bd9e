import Foundation
import Testing

@testable import MailRouter

@Suite("Responses of IMAP servers")
struct IMAPAnswerTests {
    private func answer(_ line: String, _ literals: [String] = []) -> IMAPAnswer {
        IMAPAnswer(line: Array(line.utf8), literals: literals.map { Array($0.utf8) })
    }

    private func text(_ value: IMAPAnswer.Value?) -> String? { value?.bytes.map { String(decoding: $0, as: UTF8.self) } }

    @Test("The items of a FETCH response are found by name, with their literals")
    func fetched() throws {
        let items = try #require(
            answer(
                "* 7 FETCH (UID 42 RFC822.SIZE 1234 FLAGS (\\Seen $Forwarded) BODY[HEADER.FIELDS (FROM TO)] {5} X-GM-MSGID ~{2} ENVELOPE NIL)",
                ["hello", "no"]
            ).fetched)
        #expect(items["UID"]?.number() == 42 && items["RFC822.SIZE"]?.number() == UInt64(1_234))
        guard case .list(let flags)? = items["FLAGS"] else {
            Issue.record("FLAGS is a list")
            return
        }
        #expect(flags.map { text($0) } == ["\\Seen", "$Forwarded"])
        #expect(text(items["BODY[HEADER.FIELDS (FROM TO)]"]) == "hello" && text(items["X-GM-MSGID"]) == "no")
        #expect(items["ENVELOPE"] != nil && items["ENVELOPE"]?.bytes == nil)
    }

    @Test("Escaped characters in a quoted string are read")
    func quoted() throws {
        let items = try #require(answer("* 1 fetch (subject \"a \\\"b\\\" \\\\c\" uid 1)").fetched)
        #expect(text(items["SUBJECT"]) == "a \"b\" \\c" && items["UID"]?.number() == 1)
    }

    @Test(
        "A line that is not a FETCH response has no items",
        arguments: ["* OK done", "a1 FETCH (UID 1)", "* 1 EXISTS", "* 1 FETCH", "* 1 FETCH UID 1", "* ", ""])
    func others(_ line: String) {
        #expect(answer(line).fetched == nil)
    }

    @Test("From a response without an end, with a missing literal or with too deep lists, the items before the error are read")
    func broken() {
        #expect(answer("* 1 FETCH (UID 5 FLAGS (\\Seen").fetched?["UID"]?.number() == 5)
        #expect(answer("* 1 FETCH (BODY[] {5} UID 5)").fetched?["UID"] == nil)
        let deep = String(repeating: "(", count: 10_000)
        #expect(answer("* 1 FETCH (UID 5 X \(deep)").fetched?["UID"]?.number() == 5)
    }

    @Test("The number after a word in a status text is read, if it is a number that fits the type")
    func numbers() {
        #expect(answer("* OK [UIDNEXT 4392] Predicted").number(after: "UIDNEXT") == 4_392)
        #expect(answer("* ok [uidvalidity 3857529045] x").number(after: "UIDVALIDITY") == UInt32(3_857_529_045))
        let none: Int? = answer("* OK [UIDNEXT x]").number(after: "UIDNEXT")
        #expect(none == nil)
        let tooLarge: UInt32? = answer("* OK [UIDVALIDITY 4294967296]").number(after: "UIDVALIDITY")
        #expect(tooLarge == nil)
    }

    @Test("A quoted string without an end is recognized, also if it ends with an escaped quote")
    func openQuote() {
        #expect(answer("* 1 FETCH (SUBJECT \"a").hasOpenQuote)
        #expect(answer("* 1 FETCH (SUBJECT \"a\\\"").hasOpenQuote)
        #expect(!answer("* 1 FETCH (SUBJECT \"a\\\"\")").hasOpenQuote)
        #expect(!answer("* OK a\\b").hasOpenQuote)
    }
}
