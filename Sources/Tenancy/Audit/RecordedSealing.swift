/// What an event of the kind *audit sealed* says.
struct RecordedSealing {
    /// The blocks that it sealed; nil where the audit is sealed anew from the next block on.
    let blocks: ClosedRange<Int>?
    let anchor: AuditAnchor

    static func details(_ blocks: [AuditBlock], _ anchor: AuditAnchor) -> String {
        let (first, last) = (blocks.first?.number ?? 0, blocks.last?.number ?? 0)
        let entries = blocks.reduce(0) { $0 + $1.entries }
        return "\(first == last ? "block \(first)" : "blocks \(first) to \(last)") with \(entries) entries; \(anchor.text)"
    }

    init?(_ details: String) {
        guard let anchor = AuditAnchor(details) else { return nil }
        self.anchor = anchor
        let range = /^blocks? ([0-9]{1,18})(?: to ([0-9]{1,18}))? with/
        let found = details.firstMatch(of: range)?.output
        if let found, let first = Int(found.1), let last = found.2.map({ Int($0) }) ?? first, first <= last {
            blocks = first...last
        } else {
            blocks = nil
        }
    }
}
