import Testing

@testable import Console

@Suite("A form that two people edited")
struct ThreeWayComparisonTests {
    @Test("Fields that one of them changed are merged, and only the others are contested")
    func merge() {
        let compared = ThreeWayComparison(
            loaded: ["same": "1", "theirs": "1", "yours": "1", "both": "1", "agreed": "1"],
            theirs: ["same": "1", "theirs": "2", "yours": "1", "both": "2", "agreed": "2", "hidden": "x"],
            yours: ["same": "1", "theirs": "1", "yours": "3", "both": "3", "agreed": "2"])
        #expect(compared.taken == ["theirs"] && compared.contested == ["both"])
        #expect(compared.merged == ["same": "1", "theirs": "2"])
    }

    @Test("A field that was not loaded keeps the typed value unless nobody typed another")
    func notLoaded() {
        let compared = ThreeWayComparison(loaded: [:], theirs: ["a": "2"], yours: ["a": "1"])
        #expect(compared.taken == ["a"] && compared.contested.isEmpty && compared.merged == ["a": "2"])
    }
}
