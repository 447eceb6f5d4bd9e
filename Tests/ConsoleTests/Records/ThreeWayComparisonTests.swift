import Testing

@testable import Console

@Suite("Comparing a form that two people edited at the same time")
struct ThreeWayComparisonTests {
    @Test("A field that only one person changed is merged; a field that both changed differently is contested")
    func merge() {
        let compared = ThreeWayComparison(
            loaded: ["same": "1", "theirs": "1", "yours": "1", "both": "1", "agreed": "1"],
            theirs: ["same": "1", "theirs": "2", "yours": "1", "both": "2", "agreed": "2", "hidden": "x"],
            yours: ["same": "1", "theirs": "1", "yours": "3", "both": "3", "agreed": "2"])
        #expect(compared.taken == ["theirs"] && compared.contested == ["both"])
        #expect(compared.merged == ["same": "1", "theirs": "2"])
    }

    @Test("If a field's loaded value is unknown, the other person's value is used, and the field is not contested")
    func notLoaded() {
        let compared = ThreeWayComparison(loaded: [:], theirs: ["a": "2"], yours: ["a": "1"])
        #expect(compared.taken == ["a"] && compared.contested.isEmpty && compared.merged == ["a": "2"])
    }
}
