import Email
import Model
import Records
import Tenancy

/// The figures of the overview that take time to count, as far as a role may see them.
struct OverviewFigures: Sendable {
    /// Counts of received and sent e-mails.
    let mail: HourlyCounts?
    /// Counts of errors and warnings.
    let alerts: HourlyCounts?
    /// Counts of released passwords and refused sign-ins.
    let events: HourlyCounts?
    let sealed: [SealedValues]?
    /// How many e-mails of the last seven days were not sent.
    let failedMail: Int?

    static func count(for session: Session) async throws -> OverviewFigures {
        let statistics = session.caller.role == .systemAdministrator ? try StatisticsReading(session) : nil
        return OverviewFigures(
            mail: try await session.recentMail(), alerts: try await session.recentAlerts(),
            events: try await statistics?.recentEvents(),
            sealed: try await statistics?.sealedValues(), failedMail: try await session.recentFailures())
    }

    /// What needs attention: e-mails that were not sent.
    func findings(_ visit: Visit) -> [[String: Any]] {
        guard let failedMail, failedMail > 0 else { return [] }
        return [
            [
                "severity": "warn", "level": visit.text("severity:warning"),
                "text": visit.texts.count("attention:failedMail", failedMail), "what": visit.text("do:failedMail"),
                "href": "\(visit.root)/records/emails?status=\(EmailStatus.failed.rawValue)&f.createdon=within-7d",
                "button": visit.text("showThem"), "message": false,
            ]
        ]
    }

    // MARK: Drawing

    /// A tile for each figure.
    func charts(_ visit: Visit) -> [[String: Any]] {
        var charts: [[String: Any]] = []
        if let mail {
            charts.append(
                Self.pair(
                    "chartMail", mail, ["received", "sent"], styles: ["a", "b"], "records/emails?f.createdon=within-24h", visit))
        }
        if let events {
            charts += [
                Self.single("chartReleases", events.first, "released", "events?kind=credential+released", visit),
                Self.single("chartRefused", events.second, "refused", "events?kind=signed+in&outcome=refused", visit),
            ]
        }
        if let alerts {
            charts.append(
                Self.pair(
                    "chartAlerts", alerts, ["alertErrors", "alertWarnings"], styles: ["bad", "warn"],
                    "records/tracelogs?f.modifiedon=within-24h", visit))
        }
        return charts
    }

    private static func sum(_ values: [Int]) -> Int { values.reduce(0, +) }

    private static func pair(
        _ title: String, _ counts: HourlyCounts, _ names: [String], styles: [String], _ link: String, _ visit: Visit
    ) -> [String: Any] {
        let sums = [sum(counts.first), sum(counts.second)]
        let summary = zip(names, sums).map { "\(visit.text($0)) \(visit.texts.number($1))" }.joined(separator: ", ")
        return [
            "title": visit.text(title), "total": visit.texts.number(sum(sums)), "isEmpty": sum(sums) == 0,
            "href": "\(visit.root)/\(link)",
            "chart": Charts.columns(
                counts.first, counts.second, styles: styles,
                alternative: "\(visit.text(title)). \(visit.texts.labelled(visit.text("lastDay"), summary))"),
            "legend": zip(zip(names, styles), sums).map { pair, sum -> [String: Any] in
                ["style": pair.1, "text": visit.text(pair.0), "count": visit.texts.number(sum)]
            },
        ]
    }

    private static func single(_ title: String, _ counts: [Int], _ name: String, _ link: String, _ visit: Visit) -> [String: Any] {
        let total = visit.texts.number(sum(counts))
        return [
            "title": visit.text(title), "total": total, "isEmpty": sum(counts) == 0, "href": "\(visit.root)/\(link)",
            "chart": Charts.columns(
                counts,
                alternative: "\(visit.text(title)). \(visit.texts.labelled(visit.text("lastDay"), "\(visit.text(name)) \(total)"))"),
            "legend": [[String: Any]](),
        ]
    }

    /// The number of encrypted values by kind of record.
    func sealedTile(_ visit: Visit) -> [String: Any]? {
        guard let sealed else { return nil }
        let largest = Double(max(1, sealed.map(\.values).max() ?? 1))
        return [
            "total": visit.texts.number(sealed.reduce(0) { $0 + $1.values }),
            "rows": sealed.map { entry -> [String: Any] in
                let name =
                    visit.texts.labelled(
                        visit.text("entity:\(entry.entity.logicalName)"), visit.texts.label(entry.attribute, of: entry.entity))
                let count = visit.texts.number(entry.values)
                return [
                    "name": name, "count": count, "href": "\(visit.root)/records/\(entry.entity.entitySetName)",
                    "chart": Charts.share(
                        entry.values == 0 ? 0 : Double(entry.values) / largest, style: entry.values == 0 ? "track" : "a",
                        alternative: visit.texts.labelled(name, count)),
                ]
            },
        ]
    }
}
