/// Charts as SVG, made by the server. Each chart has a text alternative. The colors of the charts come from the style sheet.
enum Charts {
    /// Columns over time, of one or two stacked values.
    ///
    /// - Parameter alternative: A description for people who do not see the chart.
    static func columns(_ first: [Int], _ second: [Int] = [], styles: [String] = ["a", "b"], alternative: String) -> String {
        let height = 56.0
        let step = 10.0
        let width = Double(first.count) * step
        let largest = Double(max(1, first.indices.map { first[$0] + (second.isEmpty ? 0 : second[$0]) }.max() ?? 1))
        var shapes = "<line class=\"axis\" x1=\"0\" x2=\"\(text(width))\" y1=\"\(text(height))\" y2=\"\(text(height))\"/>"
        for (index, value) in first.enumerated() {
            let x = Double(index) * step + 1
            let lower = Double(value) / largest * (height - 4)
            let upper = second.isEmpty ? 0 : Double(second[index]) / largest * (height - 4)
            if value == 0 && upper == 0 { continue }
            shapes += bar(x, height - lower, 8, lower, styles[0])
            shapes += bar(x, height - lower - upper, 8, upper, styles[1])
        }
        return figure(width, height + 1, alternative, shapes)
    }

    /// Parts of a whole, in one line.
    static func parts(_ parts: [(value: Int, style: String)], alternative: String) -> String {
        let whole = Double(max(1, parts.reduce(0) { $0 + $1.value }))
        let width = 240.0
        var x = 0.0
        var shapes = bar(0, 0, width, 10, "track")
        for part in parts where part.value > 0 {
            // A part that is not zero must be visible.
            let length = max(2, Double(part.value) / whole * width)
            shapes += bar(min(x, width - length), 0, max(1, length - 1), 10, part.style)
            x += length
        }
        return figure(width, 10, alternative, shapes, isFlat: true)
    }

    /// A bar that shows how much of a period has passed, between 0 and 1.
    static func share(_ share: Double, style: String, alternative: String) -> String {
        let width = 240.0
        return figure(
            width, 10, alternative, bar(0, 0, width, 10, "track") + bar(0, 0, max(3, min(1, share) * width), 10, style),
            isFlat: true)
    }

    private static func bar(_ x: Double, _ y: Double, _ width: Double, _ height: Double, _ style: String) -> String {
        guard height > 0 else { return "" }
        return
            "<rect class=\"\(style)\" x=\"\(text(x))\" y=\"\(text(y))\" width=\"\(text(width))\" height=\"\(text(height))\" rx=\"1.5\"/>"
    }

    /// - Parameter isFlat: Whether the chart is stretched to the full width, with a fixed height.
    private static func figure(
        _ width: Double, _ height: Double, _ alternative: String, _ shapes: String, isFlat: Bool = false
    ) -> String {
        let form = isFlat ? "class=\"chart flat\" preserveAspectRatio=\"none\"" : "class=\"chart\""
        return
            "<svg \(form) role=\"img\" viewBox=\"0 0 \(text(width)) \(text(height))\" aria-label=\"\(EscapedHTML.escaped(alternative))\">\(shapes)</svg>"
    }

    private static func text(_ number: Double) -> String {
        let rounded = (number * 10).rounded() / 10
        return rounded == rounded.rounded() ? "\(Int(rounded))" : "\(rounded)"
    }
}
