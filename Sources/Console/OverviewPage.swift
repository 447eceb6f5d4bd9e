import Diagnostics
import Email
import Foundation
import KeyManagement
import Model
import Tenancy

// The first page: how the organization is, and what a person of that role should do.
extension Console {
    @Sendable func overview(_ visit: Visit) async throws -> Reply {
        // Events were on this page once, and addresses of them are kept.
        if let kind = visit.query("kind") ?? visit.query("before").map({ _ in "" }) {
            let name = kind.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
            return .redirect("\(visit.root)/events?kind=\(name)&before=\(visit.query("before").flatMap { Int($0) } ?? .max)")
        }
        let session = try visit.session()
        var values: [String: Any] = [
            "title": visit.text("overview"), "lead": visit.text("overviewLead", ["organization": visit.organization]),
            "isAdministrator": visit.isAdministrator,
        ]
        var findings: [[String: Any]] = []
        if visit.isAdministrator {
            let status = try await session.encryptionStatus()
            values["encryption"] = encryptionTile(status, visit)
            findings += try await doctor.findings(of: session.organization).map { finding($0, visit) }
            let figures = try await figures.of(session)
            values["charts"] = charts(figures.statistics, visit)
            values["sealed"] = sealedTile(figures.sealed, visit)
            let recent = try await session.securityEvents(EventFilter.notable, limit: Self.recentEvents)
            values["recent"] = try await EventLines(visit, session).lines(recent)
        } else if !session.isEncryptionActive {
            findings.append([
                "severity": "bad", "text": visit.text("key-required"), "what": visit.text("askAdministrator"), "href": false,
                "message": false,
            ])
        }
        if Navigation.mayList(.mailbox, visit.roles) {
            let counts = try await MailboxCounts.read(session)
            values["mailboxes"] = mailboxTile(counts, visit)
            findings += mailboxFindings(counts, visit)
        }
        values["findings"] = findings
        values["hasFindings"] = !findings.isEmpty
        return .page("overview", values)
    }

    private static let recentEvents = 6
    /// Days after which a key is due for a change.
    static let keyLifetime = 365.0

    private func encryptionTile(_ status: EncryptionStatus, _ visit: Visit) -> [String: Any] {
        let age = max(0, Date().timeIntervalSince(status.setOn) / 86_400)
        let isDue = status.isActive && status.nextChangeDue < Date()
        let days = visit.texts.count("days", Int(age))
        let sentence =
            !status.isActive
            ? visit.text("stateRequired", ["version": "\(status.keyVersion)"])
            : visit.text(isDue ? "stateDue" : "stateActive", ["version": "\(status.keyVersion)", "age": days])
        let badge: String = !status.isActive ? "bad" : isDue ? "warn" : "good"
        let chart: String? =
            status.isActive ? Charts.share(age / Self.keyLifetime, style: isDue ? "warn" : "good", alternative: sentence) : nil
        return [
            "state": visit.text(status.isActive ? "active" : "keyRequired"), "sentence": sentence, "badge": badge,
            "chart": orFalse(chart),
            "setOn": visit.texts.day(status.setOn), "due": visit.texts.day(status.nextChangeDue),
        ]
    }

    // MARK: What needs attention

    /// Where this console mends what was found.
    private static let remedies: [String: (path: String, button: String)] = [
        "key-required": ("settings/data-encryption", "activate"), "key-never-copied": ("settings/data-encryption", "keepCopy"),
        "key-overdue": ("settings/data-encryption/change", "changeKey"), "client-not-made-here": ("access", "reviewAccess"),
        "user-not-made-here": ("access", "reviewAccess"), "revocation-undone": ("access", "reviewAccess"),
        "events-refused": ("events?kind=event+refused", "showEvents"),
        "mail-settings-not-authorized": ("records/emailserverprofiles", "reviewProfiles"),
    ]

    private func finding(_ finding: Finding, _ visit: Visit) -> [String: Any] {
        let style = ["error": "bad", "warning": "warn"][finding.severity.rawValue] ?? ""
        var values: [String: Any] = [
            "severity": style, "level": visit.text("severity:\(finding.severity.rawValue)"), "text": visit.text(finding.code),
            "what": visit.texts.optional("do:\(finding.code)") ?? visit.text("askOperator"), "message": finding.message,
            "advice": finding.advice, "href": false,
        ]
        if let remedy = Self.remedies[finding.code] {
            values["href"] = "\(visit.root)/\(remedy.path)"
            values["button"] = visit.text(remedy.button)
        }
        return values
    }

    private func mailboxFindings(_ counts: MailboxCounts, _ visit: Visit) -> [[String: Any]] {
        let kinds: [(MailboxState, String)] = [(.failing, "bad"), (.unapproved, "warn")]
        return kinds.compactMap { state, style in
            let count = counts[state]
            guard count > 0 else { return nil }
            return [
                "severity": style, "level": visit.text(style == "bad" ? "severity:error" : "severity:warning"),
                "text": visit.texts.count("attention:\(state.rawValue)", count), "what": visit.text("do:\(state.rawValue)"),
                "href": "\(visit.root)/records/mailboxes?status=\(state.rawValue)", "button": visit.text("showThem"),
                "message": false,
            ]
        }
    }

    // MARK: Tiles

    private func mailboxTile(_ counts: MailboxCounts, _ visit: Visit) -> [String: Any] {
        let styles: [(MailboxState, String)] = [
            (.working, "good"), (.failing, "bad"), (.unapproved, "warn"), (.untested, "none"), (.disabled, "b"),
        ]
        let shown = styles.filter { counts[$0.0] > 0 }
        let names = shown.map { "\(visit.text("mailboxState:\($0.0.rawValue)")) \(visit.texts.number(counts[$0.0]))" }
        return [
            "total": visit.texts.number(counts.total), "totalText": visit.texts.count("mailboxesInAll", counts.total),
            "isEmpty": counts.total == 0,
            "mayConnect": PrivilegeTable.depth(of: .create, on: .mailbox, for: visit.roles) != .none,
            "chart": Charts.parts(
                shown.map { (counts[$0.0], $0.1) }, alternative: "\(visit.text("mailbox")): \(names.joined(separator: ", "))"),
            "parts": shown.map { state, style -> [String: Any] in
                [
                    "style": style, "text": visit.text("mailboxState:\(state.rawValue)"),
                    "count": visit.texts.number(counts[state]),
                    "href": "\(visit.root)/records/mailboxes?status=\(state.rawValue)",
                ]
            },
        ]
    }

    private func charts(_ statistics: OrganizationStatistics, _ visit: Visit) -> [[String: Any]] {
        func sum(_ values: [Int]) -> Int { values.reduce(0, +) }
        func tile(_ title: String, _ first: [Int], _ second: [Int], _ names: [String], _ link: String) -> [String: Any] {
            let sums = names.count == 2 ? [sum(first), sum(second)] : [sum(first)]
            let summary = zip(names, sums).map { "\(visit.text($0)) \(visit.texts.number($1))" }.joined(separator: ", ")
            return [
                "title": visit.text(title), "total": visit.texts.number(sums.reduce(0, +)),
                "chart": Charts.columns(first, second, alternative: "\(visit.text(title)). \(visit.text("lastDay")): \(summary)"),
                "href": "\(visit.root)/\(link)",
                "legend": names.count == 2
                    ? zip(zip(names, ["a", "b"]), sums).map { pair, sum -> [String: Any] in
                        ["style": pair.1, "text": visit.text(pair.0), "count": visit.texts.number(sum)]
                    } : [[String: Any]](),
            ]
        }
        return [
            tile("chartMail", statistics.received, statistics.sent, ["received", "sent"], "records/emails"),
            tile("chartReleases", statistics.released, [], ["released"], "events?kind=credential+released"),
            tile("chartRefused", statistics.refusedSignIns, [], ["refused"], "events?kind=signed+in&outcome=refused"),
        ]
    }

    private func sealedTile(_ values: [SealedValues], _ visit: Visit) -> [String: Any] {
        let largest = Double(max(1, values.map(\.values).max() ?? 1))
        return [
            "total": visit.texts.number(values.reduce(0) { $0 + $1.values }),
            "rows": values.map { entry -> [String: Any] in
                let name =
                    "\(visit.text("entity:\(entry.entity.logicalName)")): \(visit.texts.label(entry.attribute, of: entry.entity))"
                let count = visit.texts.number(entry.values)
                return [
                    "name": name, "count": count, "href": "\(visit.root)/records/\(entry.entity.entitySetName)",
                    "chart": Charts.share(
                        entry.values == 0 ? 0 : Double(entry.values) / largest, style: entry.values == 0 ? "track" : "a",
                        alternative: "\(name): \(count)"),
                ]
            },
        ]
    }
}
