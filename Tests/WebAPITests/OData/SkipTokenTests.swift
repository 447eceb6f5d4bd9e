import Foundation
import JSON
import Model
import Records
import Testing

@testable import WebAPI

@Suite("Skip tokens of result pages")
struct SkipTokenTests {
    private func token(_ values: [String?], offset: Int, remaining: Int?) -> RecordQuery.PageToken {
        var token = RecordQuery.PageToken()
        (token.values, token.offset, token.remaining) = (values, offset, remaining)
        return token
    }

    @Test("A skip token is equal after writing and reading, and needs no encoding in a URL")
    func roundTrip() throws {
        let tokens = [
            token([], offset: 0, remaining: nil), token(["a", nil, ""], offset: 5_000, remaining: 7),
            token(["??>>~~ÿÿ\u{1F511}\"\\"], offset: Int(Int32.max), remaining: nil),
        ]
        for token in tokens {
            let text = SkipToken.write(token, "mark")
            #expect(text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") })
            let read = try SkipToken.read(text, "mark")
            #expect(read == token)
            let parts = try SkipToken.parts(text)
            #expect(parts.mark == "mark" && parts.token == token)
        }
    }

    @Test("A skip token of another query is refused, and so is a text that the service did not make")
    func refused() {
        let text = SkipToken.write(token(["a"], offset: 1, remaining: nil), "mark")
        #expect(throws: FieldsealError.self) { try SkipToken.read(text, "other") }
        for json in ["[]", "{}", "[null]", "[null,-1]", "[null,2147483648]", "[0,1]", "[null,1,2]", "[null,1,[]]", "null"] {
            #expect(throws: FieldsealError.self, "\(json)") { try SkipToken.parts(Data(json.utf8).base64URL) }
        }
        for text in ["", "*", "a", String(repeating: "A", count: 16_385)] {
            #expect(throws: FieldsealError.self, "\(text.prefix(9))") { try SkipToken.parts(text) }
        }
    }

    @Test("A query's mark changes only with options that decide which records are returned, or in which order")
    func marks() {
        let query = [(name: "$filter", value: "a eq 1"), (name: "$top", value: "5"), (name: "@p", value: "1")]
        let mark = SkipToken.mark(of: .mailbox, query)
        #expect(mark == SkipToken.mark(of: .mailbox, query.reversed() + [(name: "$count", value: "true")]))
        #expect(mark != SkipToken.mark(of: .queue, query))
        #expect(mark != SkipToken.mark(of: .mailbox, [(name: "$filter", value: "a eq 2")] + query.dropFirst()))
        #expect(mark != SkipToken.mark(of: .mailbox, Array(query.dropLast())))
    }
}
