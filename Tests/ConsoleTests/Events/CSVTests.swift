import Model
import Testing

@testable import Console

@Suite("Comma-separated values")
struct CSVTests {
    @Test(
        "Fields are quoted, and a text that a spreadsheet would execute as a formula gets an apostrophe",
        arguments: [
            ("a", "\"a\""), ("a\"b", "\"a\"\"b\""), ("a,b\r\nc", "\"a,b\r\nc\""), ("", "\"\""), ("-5", "\"-5\""),
            ("+1.5", "\"+1.5\""),
            ("=1+1", "\"'=1+1\""), ("-cmd", "\"'-cmd\""), ("+cmd", "\"'+cmd\""), ("@sum", "\"'@sum\""), ("\t=1", "\"'\t=1\""),
        ])
    func fields(_ text: String, _ field: String) {
        #expect(CSV.line([text, "x"]) == "\(field),\"x\"\r\n")
    }

    @Test("A value is written as in the Web API, and bytes and null are written as an empty text")
    func values() {
        #expect(CSV.text(.null) == "" && CSV.text(.bytes([1])) == "")
        #expect(CSV.text(.text("a")) == "a" && CSV.text(.decimal("1.50")) == "1.50")
        #expect(CSV.text(.int(-3)) == "-3" && CSV.text(.bool(true)) == "true")
    }
}
