/// The parsed details of a security event about the audit: of the kind *audit sealed* or *events archived*.
struct RecordedSealing {
    /// The blocks that were sealed; nil for an archive, and for an event after which the whole audit is sealed again.
    let blocks: ClosedRange<Int>?
    private let isAnew: Bool
    let anchor: AuditAnchor

    /// The beginning of the details if the whole audit is to be sealed again.
    static let anew = "to be sealed anew"

    static func details(_ blocks: [AuditBlock], _ anchor: AuditAnchor) -> String {
        let (first, last) = (blocks.first?.number ?? 0, blocks.last?.number ?? 0)
        let entries = blocks.reduce(0) { $0 + $1.entries }
        return "\(first == last ? "block \(first)" : "blocks \(first) to \(last)") with \(entries) entries; \(anchor.text)"
    }

    init?(_ details: String) {
        guard let anchor = AuditAnchor(details) else { return nil }
        self.anchor = anchor
        isAnew = details.hasPrefix(Self.anew)
        let range = /^blocks? ([0-9]{1,18})(?: to ([0-9]{1,18}))? with/
        let found = details.firstMatch(of: range)?.output
        if let found, let first = Int(found.1), let last = found.2.map({ Int($0) }) ?? first, first <= last {
            blocks = first...last
        } else {
            blocks = nil
        }
    }

    /// The contradictions between this event and the event about the audit before it.
    ///
    /// - Parameters:
    ///   - id: The number of this event.
    ///   - start: The first block that is verified.
    func problems(after former: RecordedSealing, recordedBy id: Int, from start: Int) -> [String] {
        let (old, new) = (former.anchor, anchor)
        guard !isAnew else { return [] }
        guard let blocks else {
            let isArchive = new.last == old.last && new.digest == old.digest && new.first >= old.first
            return isArchive ? [] : ["audit: the security event \(id) records an archive of blocks that did not exist"]
        }
        var problems: [String] = []
        if blocks.lowerBound > old.last + 1, blocks.lowerBound > start {
            problems.append("audit blocks \(old.last + 1) to \(blocks.lowerBound - 1): no security event records them")
        }
        if blocks.lowerBound <= old.last {
            problems.append("audit block \(blocks.lowerBound): the security event \(id) seals it again")
        }
        if new.first != old.first || new.before != old.before {
            problems.append("audit: the security event \(id) moves the first block to \(new.first), and no archive did")
        }
        return problems
    }
}
