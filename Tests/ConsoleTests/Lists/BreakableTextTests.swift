import Testing

@testable import Console

@Suite("Where a line of a list may end")
struct BreakableTextTests {
    @Test("Words are whole up to 20 letters, and addresses end a line at their signs")
    func parts() {
        #expect(BreakableText("Kundendienstpostfach Süd").parts == ["Kundendienstpostfach Süd"])
        #expect(BreakableText("a@b.test").parts == ["a@b.test"])
        #expect(BreakableText("customer@elsewhere.test").parts == ["customer", "@elsewhere", ".test"])
        #expect(BreakableText("To anna-maria@contoso.test, all").parts == ["To anna-", "maria", "@contoso", ".test, all"])
        #expect(BreakableText(String(repeating: "x", count: 45)).parts.map(\.count) == [10, 10, 10, 10, 5])
        #expect(BreakableText("").parts == [""])
    }

    @Test("The parts are the text")
    func whole() {
        for text in ["  two  spaces ", "wilhelmine.brandenburger-schmidt@kundendienst.contoso.example and others", "…@.-@"] {
            #expect(BreakableText(text).parts.joined() == text)
        }
    }

    @Test("A list names two recipients, and how many there are beside them")
    func recipients() {
        #expect(RecipientList("a@x.test").short == "a@x.test")
        #expect(RecipientList("a@x.test;b@x.test").short == "a@x.test, b@x.test")
        #expect(RecipientList("a@x.test; b@x.test;c@x.test;").short == "a@x.test, b@x.test +1")
        #expect(RecipientList("a@x.test;b@x.test;c@x.test").full == "a@x.test, b@x.test, c@x.test")
        #expect(RecipientList("").short == "")
    }
}
