import Testing

@testable import Records

@Suite("Patterns of texts")
struct TextPatternTests {
    @Test(
        "A pattern without character sets becomes a pattern for PostgreSQL's LIKE",
        arguments: [("a%b_c", "a%b_c"), ("50[%]", "50\\%"), ("a\\b", "a\\\\b"), ("[", "["), ("[x]", "x"), ("[_]", "\\_")])
    func like(text: String, pattern: String) {
        #expect(TextPattern.sql(text) == TextPattern(pattern: pattern, isRegularExpression: false))
    }

    @Test(
        "A pattern with a character set becomes a regular expression in which all other characters are literal",
        arguments: [
            ("[a-c]%", "^(?=[a-c])..*$"), ("[^A]", "^(?!a).$"), ("[ab].", "^(?=a|b).\\u002e$"), ("_[a-a]", "^.(?=a).$"),
        ])
    func sets(text: String, pattern: String) {
        #expect(TextPattern.sql(text) == TextPattern(pattern: pattern, isRegularExpression: true))
    }

    @Test("A pattern with a reversed range, such as [c-a], is refused", arguments: ["[c-a]", "[^9-0]"])
    func ranges(text: String) {
        #expect(TextPattern.sql(text) == nil)
    }

    @Test("Wildcards are escaped by holding(), and kept by contains(), starts(with:) and ends(with:)")
    func holding() {
        #expect(TextPattern.holding("5%_[a]").pattern == "%5\\%\\_[a]%")
        #expect(TextPattern.contains("5%")?.pattern == "%5%%" && TextPattern.starts(with: "a")?.pattern == "a%")
        #expect(TextPattern.ends(with: "a")?.pattern == "%a")
    }
}
