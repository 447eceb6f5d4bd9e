import Testing

@testable import Console

@Suite("Charts")
struct ChartsTests {
    /// The number of bars with a style.
    private func bars(_ svg: String, _ style: String) -> Int { svg.ranges(of: "<rect class=\"\(style)\"").count }

    @Test("A chart has a bar for each value that is not zero, and its text alternative is escaped")
    func columns() {
        let svg = Charts.columns([0, 5, 10], [1, 0, 10], alternative: "a < b & \"c\"")
        #expect(bars(svg, "a") == 2 && bars(svg, "b") == 2)
        #expect(svg.contains("aria-label=\"a &lt; b &amp; &quot;c&quot;\""))
        // The column with the largest sum has the chart's whole height.
        #expect(svg.contains("y=\"30\" width=\"8\" height=\"26\"") && svg.contains("y=\"4\" width=\"8\" height=\"26\""))
    }

    @Test("A chart without values has no bars")
    func empty() {
        #expect(bars(Charts.columns([], alternative: ""), "a") == 0)
        #expect(bars(Charts.columns([0, 0], alternative: ""), "a") == 0)
        #expect(bars(Charts.parts([], alternative: ""), "track") == 1)
    }

    @Test("The smallest part stays visible and within the chart")
    func parts() {
        let svg = Charts.parts(
            [(value: 1_000_000, style: "most"), (value: 1, style: "least"), (value: 0, style: "none")], alternative: "")
        #expect(bars(svg, "most") == 1 && bars(svg, "least") == 1 && bars(svg, "none") == 0)
        #expect(svg.contains("<rect class=\"least\" x=\"238\""))
    }

    @Test("The bar of a share has at most the chart's width, and at least 3 pixels")
    func share() {
        #expect(Charts.share(2, style: "s", alternative: "").contains("<rect class=\"s\" x=\"0\" y=\"0\" width=\"240\""))
        #expect(Charts.share(0, style: "s", alternative: "").contains("<rect class=\"s\" x=\"0\" y=\"0\" width=\"3\""))
    }
}
