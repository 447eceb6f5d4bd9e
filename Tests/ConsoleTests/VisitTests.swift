import Model
import Testing

@testable import Console

@Suite("Requests for pages")
struct VisitTests {
    @Test("All fields of a form are read, and the last value of a repeated field is used")
    func form() throws {
        #expect(try Visit.form("a=1&b=x+y%26z&a=2&c&d=".utf8) == ["a": "2", "b": "x y&z", "c": "", "d": ""])
        #expect(try Visit.form("".utf8).isEmpty)
        #expect(try Visit.form("a=b=c".utf8) == ["a": "b=c"])
    }

    @Test(
        "A form with an invalid escape, a zero byte or too many fields is refused",
        arguments: ["a=%", "a=%zz", "a=%ff", "a=%00", "%00=a", String(repeating: "a=b&", count: 501)])
    func refused(_ body: String) {
        #expect(throws: FieldsealError.self) { try Visit.form(body.utf8) }
    }

    @Test("A form that is not in UTF-8 is refused")
    func notUTF8() {
        #expect(throws: FieldsealError.self) { try Visit.form([0x61, 0x3D, 0xFF]) }
    }

    @Test(
        "A page to return to is only accepted if it is a relative path of this organization",
        arguments: [
            ("mailbox/list?q=a&page=2", "mailbox/list?q=a&page=2"), ("events", "events"), (nil, "overview"), ("", "overview"),
            ("/etc", "overview"), ("//evil.test", "overview"), ("https://evil.test", "overview"), ("../x", "overview"),
            ("a/../b", "overview"), ("a\r\nSet-Cookie: b", "overview"), ("a?b\r\nc", "a"), ("a?b\"c", "a"), ("a\\b", "overview"),
            (String(repeating: "a", count: 701), "overview"),
        ] as [(String?, String)])
    func page(_ name: String?, _ page: String) {
        #expect(Visit.page(name) == page)
    }

    @Test("A query parameter is decoded; a parameter with U+0000 or invalid UTF-8 is refused")
    func parameter() throws {
        let parameter = try #require(Visit.parameter("f.name=a%20b+c"))
        #expect(parameter.name == "f.name" && parameter.value == "a b c")
        #expect(Visit.parameter("q")?.value == "")
        #expect(Visit.parameter("q=%00") == nil && Visit.parameter("q=%ff") == nil)
    }
}
