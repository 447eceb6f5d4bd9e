import Testing

@testable import Console

@Suite("Places at which the console may break a line of a list")
struct BreakableTextTests {
    private func texts(_ text: String) -> [String] { BreakableText(text).parts.map(\.text) }

    @Test("Short words are not broken; a longer address is broken after its signs, and any other word every 10 letters")
    func parts() {
        #expect(texts("Kundendienstpostfach Süd") == ["Kundendienstpostfach Süd"])
        #expect(texts("a@b.test") == ["a@b.test"])
        #expect(texts("customer@elsewhere.test") == ["customer@", "elsewhere", ".test"])
        #expect(texts("To anna-maria@contoso.test, all") == ["To anna-", "maria@", "contoso", ".test, all"])
        #expect(texts(String(repeating: "x", count: 45)).map(\.count) == [10, 10, 10, 10, 5])
        #expect(texts("") == [""])
    }

    @Test("The breaks that always apply are after the @ of an address, or within its long sides; a short address has none")
    func addresses() {
        func always(_ text: String, whole: Int = 0) -> [String] {
            BreakableText(text, whole: whole).parts.filter(\.isAlways).map(\.text)
        }
        #expect(always("customer@elsewhere.test") == ["customer@"])
        #expect(always("customer@elsewhere.test", whole: 24).isEmpty)
        #expect(always("a.customer@elsewhere.test, other@elsewhere.test +3") == [".customer@", ".test, other@"])
        #expect(always("ours@a-very-long-domain.elsewhere.example").contains("long-"))
        #expect(BreakableText("customer@elsewhere.test", whole: 24).isWhole)
        #expect(!BreakableText("customer@elsewhere.test, a@b.test", whole: 40).isWhole)
        #expect(BreakableText("customer@elsewhere.test, other@elsewhere.test +3").isAddress)
        #expect(!BreakableText("Kundendienstpostfach Süd").isAddress)
    }

    @Test("The parts of a text, joined, are the text")
    func whole() {
        for text in ["  two  spaces ", "wilhelmine.brandenburger-schmidt@kundendienst.contoso.example and others", "…@.-@"] {
            #expect(texts(text).joined() == text)
        }
    }

    @Test("A list shows two recipients, and the number of further recipients")
    func recipients() {
        #expect(RecipientList("a@x.test").short == "a@x.test")
        #expect(RecipientList("a@x.test;b@x.test").short == "a@x.test, b@x.test")
        #expect(RecipientList("a@x.test; b@x.test;c@x.test;").short == "a@x.test, b@x.test +1")
        #expect(RecipientList("a@x.test;b@x.test;c@x.test").full == "a@x.test, b@x.test, c@x.test")
        #expect(RecipientList("").short == "")
    }
}
