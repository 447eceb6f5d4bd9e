import Testing

@testable import Records

@Suite("Patterns of texts")
struct TextPatternTests {
    @Test(
        "A pattern without sets is PostgreSQL's LIKE",
        arguments: [("a%b_c", "a%b_c"), ("50[%]", "50\\%"), ("a\\b", "a\\\\b"), ("[", "["), ("[x]", "x"), ("[_]", "\\_")])
    func like(text: String, pattern: String) {
        #expect(TextPattern.sql(text) == TextPattern(pattern: pattern, isRegularExpression: false))
    }

    @Test(
        "A pattern with a set is a regular expression, in which no other character has a meaning",
        arguments: [
            ("[a-c]%", "^(?=[a-c])..*$"), ("[^A]", "^(?!a).$"), ("[ab].", "^(?=a|b).\\u002e$"), ("_[a-a]", "^.(?=a).$"),
        ])
    func sets(text: String, pattern: String) {
        #expect(TextPattern.sql(text) == TextPattern(pattern: pattern, isRegularExpression: true))
    }

    @Test("A range that ends before it begins is none", arguments: ["[c-a]", "[^9-0]"])
    func ranges(text: String) {
        #expect(TextPattern.sql(text) == nil)
    }

    @Test("The text that is looked for has no wildcards")
    func holding() {
        #expect(TextPattern.holding("5%_[a]").pattern == "%5\\%\\_[a]%")
        #expect(TextPattern.contains("5%")?.pattern == "%5%%" && TextPattern.starts(with: "a")?.pattern == "a%")
        #expect(TextPattern.ends(with: "a")?.pattern == "%a")
    }
}
