/// The doctor's findings in bounded size: some findings of each code, and the number of findings of each code.
///
/// The kept findings are spread over the organizations, so that an organization with many findings does not hide another's.
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
    /// - Parameter database: The database's name, if there are several. The name is added to the subject of findings about the
    ///   deployment.
    package mutating func add(_ other: FindingReport, of database: String?) {
        organizations += other.organizations
        for findings in other.kept.values {
            for finding in findings { keep(database.map(finding.named) ?? finding) }
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
            keep(finding)
        }
    }

    /// Keeps a finding. If there is no room, the finding may replace another one of the subject that has the most findings.
    private mutating func keep(_ finding: Finding) {
        var findings = kept[finding.code, default: []]
        guard !findings.contains(finding) else { return }
        if findings.count == limit {
            let places = Dictionary(grouping: findings.indices) { findings[$0].subject }
            guard let most = places.max(by: { ($0.value.count, $0.key) < ($1.value.count, $1.key) }),
                let last = most.value.last, places[finding.subject, default: []].count + 1 < most.value.count
            else { return }
            findings.remove(at: last)
        }
        kept[finding.code] = findings + [finding]
    }
}
