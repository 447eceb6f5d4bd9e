import Testing

@testable import Diagnostics

@Suite("Limiting the number of the doctor's findings")
struct FindingReportTests {
    private static func findings(_ subject: String, _ count: Int, code: String = "untagged_row") -> [Finding] {
        (0..<count).map { Finding(.error, code, subject, "row \($0)", advice: "none") }
    }

    private static func counts(_ report: FindingReport) -> [String: Int] {
        Dictionary(grouping: report.findings, by: \.subject).mapValues(\.count)
    }

    @Test("An organization with many findings does not displace the findings of other organizations")
    func fair() {
        for organizations in [["contoso", "fabrikam", "northwind"], ["northwind", "fabrikam", "contoso"]] {
            var report = FindingReport(limit: 4)
            for (name, count) in zip(organizations, [1_000, 3, 1]) { report.add(Self.findings(name, count)) }
            #expect(Self.counts(report).values.sorted() == [1, 1, 2])
            #expect(report.totals.map(\.count) == [1_004])
            #expect(report.totals.map(\.omitted) == [1_000])
        }
    }

    @Test("If there are more organizations than the limit, at most one finding of each organization is kept")
    func manyOrganizations() {
        var report = FindingReport(limit: 3)
        for number in 0..<50 { report.add(Self.findings("org\(number)", 2)) }
        #expect(Self.counts(report).values.allSatisfy { $0 == 1 })
        #expect(report.findings.count == 3)
        #expect(report.totals.first?.count == 100)
    }

    @Test("The limit applies to the findings of all databases together")
    func databases() {
        var report = FindingReport(limit: 4)
        for (database, count) in [("main", 100), ("east", 2)] {
            var found = FindingReport(limit: 4)
            found.add(Self.findings("contoso", count))
            report.add(found, of: database)
        }
        #expect(Self.counts(report) == ["main/contoso": 2, "east/contoso": 2])
        #expect(report.totals.first?.count == 102)
    }

    @Test("The limit applies to each code separately")
    func codes() {
        var report = FindingReport(limit: 2)
        report.add(Self.findings("contoso", 5) + Self.findings("contoso", 1, code: "key_required"))
        #expect(report.findings.map(\.code).filter { $0 == "key_required" }.count == 1)
        #expect(report.totals.reduce(0) { $0 + $1.omitted } == 3)
    }
}
