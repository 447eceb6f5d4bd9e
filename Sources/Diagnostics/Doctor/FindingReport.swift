/// The doctor's findings in bounded size: the first findings of each code, and the number of findings of each code.
package struct FindingReport: Sendable {
    /// How often one code was found.
    package struct Total: Sendable {
        package let severity: Finding.Severity
        package let code: String
        package let count: Int
        /// How many of the findings are not in ``FindingReport/findings``.
        package let omitted: Int
    }

    private let limit: Int
    private var kept: [String: [Finding]] = [:]
    private var counts: [String: (severity: Finding.Severity, count: Int)] = [:]
    /// How many organizations were examined.
    package internal(set) var organizations = 0

    /// - Parameter limit: How many findings of each code are kept at most.
    package init(limit: Int) { self.limit = limit }

    /// The findings that were kept, the most severe first.
    package var findings: [Finding] { Doctor.sorted(kept.values.flatMap(\.self)) }

    /// One total for each code, the most severe first.
    package var totals: [Total] {
        counts.map { code, found in
            Total(severity: found.severity, code: code, count: found.count, omitted: found.count - (kept[code]?.count ?? 0))
        }
        .sorted { ($1.severity, $0.code) < ($0.severity, $1.code) }
    }

    /// The worst severity; nil when nothing was found.
    package var worst: Finding.Severity? { counts.values.map(\.severity).max() }

    /// Adds the findings of one database.
    ///
    /// - Parameter database: Its name if there are several. It becomes the subject of findings about the deployment.
    package mutating func add(_ other: FindingReport, of database: String?) {
        organizations += other.organizations
        for (code, findings) in other.kept {
            let known = kept[code, default: []]
            let named = findings.map { database.map($0.named) ?? $0 }
            kept[code] = known + named.filter { !known.contains($0) }.prefix(limit - known.count)
        }
        for (code, found) in other.counts {
            let known = counts[code]
            counts[code] = (max(known?.severity ?? found.severity, found.severity), (known?.count ?? 0) + found.count)
        }
    }

    package mutating func add(_ findings: [Finding]) {
        for finding in findings {
            let known = counts[finding.code]
            counts[finding.code] = (max(known?.severity ?? finding.severity, finding.severity), (known?.count ?? 0) + 1)
            if kept[finding.code, default: []].count < limit { kept[finding.code, default: []].append(finding) }
        }
    }
}
