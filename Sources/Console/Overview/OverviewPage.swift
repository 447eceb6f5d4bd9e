import Diagnostics
import Email
import Foundation
import KeyManagement
import Model
import Tenancy

// The first page: the state of the organization, and the next steps for a person's role.
extension Console {
    @Sendable func overview(_ visit: Visit) async throws -> PageResponse {
        let session = try visit.session()
        var values: [String: Any] = [
            "title": visit.text("overview"), "lead": visit.text("overviewLead", ["organization": visit.organization]),
            "isAdministrator": visit.isAdministrator, "checked": false, "isChecking": false,
        ]
        var found: [[String: Any]] = []
        if visit.isAdministrator {
            let status = try await KeyAdministration(session, to: .see).encryptionStatus()
            values["encryption"] = encryptionTile(status, visit)
            found += try await allFindings(session, &values, visit).map { finding($0, visit) }
            // Equal events are one line, so more are read than are shown.
            let recent = try await EventReading(session).events(EventFilter.notable, limit: Self.readEvents)
            values["recent"] = Array(try await EventLines(visit, session).lines(recent).prefix(Self.recentEvents))
        } else if !session.isEncryptionActive {
            found.append([
                "severity": "bad", "level": visit.text("severity:error"), "text": visit.text("key-required"),
                "what": visit.text("askAdministrator"), "href": false, "message": false,
            ])
        }
        // All administrators of an organization share their figures. Other people see figures of their own records.
        let owner = visit.isAdministrator ? session.organization.id : session.caller.systemUserID ?? session.organization.id
        let counted = try await figures.of(owner) { try await OverviewFigures.count(for: session) }
        let charts = counted?.value.charts(visit) ?? []
        values["charts"] = charts
        values["hasCharts"] = !charts.isEmpty
        values["sealed"] = orFalse(counted?.value.sealedTile(visit))
        values["isCounting"] = counted == nil
        if Navigation.mayList(.mailbox, visit.roles), let counts = try await mailboxCounts(session) {
            values["mailboxes"] = mailboxTile(counts, visit)
            found += mailboxFindings(counts, visit)
            if let missing = try await missingRouter(counts, visit) { found.insert(missing, at: 0) }
        }
        found += counted?.value.findings(visit) ?? []
        values["findings"] = found
        values["hasFindings"] = !found.isEmpty
        return .page("overview", values)
    }

    /// The doctor's findings. Checks whose duration grows with the number of records run in the background, and their result is
    /// shown with its time.
    private func allFindings(_ session: Session, _ values: inout [String: Any], _ visit: Visit) async throws -> [Finding] {
        let (doctor, organization) = (doctor, session.organization)
        let fixed = try await doctor.findings(of: organization)
        let requested = Date()
        guard
            let found = try await findings.of(
                organization.id, { try await doctor.findingsAmongRecords(of: organization) })
        else {
            values["isChecking"] = true
            return fixed
        }
        // Findings that were computed for this request are shown without a time.
        if found.date < requested { values["checked"] = visit.texts.timeAgo(found.date) }
        return Doctor.sorted(fixed + found.value)
    }

    private static let recentEvents = 6
    private static let readEvents = 100

    private func encryptionTile(_ status: EncryptionStatus, _ visit: Visit) -> [String: Any] {
        let age = max(0, Date().timeIntervalSince(status.setOn))
        let isDue = status.isActive && status.nextChangeDue < Date()
        let sentence = keySentence(status, visit)
        let badge: String = !status.isActive ? "bad" : isDue ? "warn" : "good"
        let chart: String? =
            status.isActive ? Charts.share(age / KeyPolicy.keyLifetime, style: isDue ? "warn" : "good", alternative: sentence) : nil
        return [
            "state": visit.text(status.isActive ? "active" : "keyRequired"), "sentence": sentence, "badge": badge,
            "chart": orFalse(chart),
            "setOn": visit.texts.dayTime(status.setOn), "due": visit.texts.dayTime(status.nextChangeDue),
        ]
    }

    // MARK: What needs attention

    private func finding(_ finding: Finding, _ visit: Visit) -> [String: Any] {
        let style = ["error": "bad", "warning": "warn"][finding.severity.rawValue] ?? ""
        var values: [String: Any] = [
            "severity": style, "level": visit.text("severity:\(finding.severity.rawValue)"), "text": visit.text(finding.code),
            "what": visit.texts.optional("do:\(finding.code)") ?? visit.text("askOperator"),
            "message": visit.texts.toldFinding(finding.message), "advice": visit.texts.toldFinding(finding.advice),
            "href": Remedy.letter(finding, visit), "button": visit.text("writeOperator"),
        ]
        if let remedy = Remedy.pages[finding.code] {
            values["href"] = "\(visit.root)/\(remedy.path)"
            values["button"] = visit.text(remedy.button)
        }
        return values
    }

    private func mailboxFindings(_ counts: MailboxCounts, _ visit: Visit) -> [[String: Any]] {
        let kinds: [(MailboxState, String)] = [(.failing, "bad"), (.unapproved, "warn")]
        let mayApprove = MailboxAction.approve.isAllowed(for: visit.roles)
        return kinds.compactMap { state, style in
            let count = counts[state]
            guard count > 0 else { return nil }
            return [
                "severity": style, "level": visit.text(style == "bad" ? "severity:error" : "severity:warning"),
                "text": visit.texts.count("attention:\(state.rawValue)", count),
                "what": visit.text(state == .unapproved && !mayApprove ? "ask:unapproved" : "do:\(state.rawValue)"),
                "href": "\(visit.root)/records/mailboxes?status=\(state.rawValue)", "button": visit.text("showThem"),
                "message": false,
            ]
        }
    }

    /// A notice for people who run mailboxes, if no router fetches and sends their mail.
    private func missingRouter(_ counts: MailboxCounts, _ visit: Visit) async throws -> [String: Any]? {
        guard MailboxAction.test.isAllowed(for: visit.roles), counts.total > counts[.disabled],
            try await !visit.session().hasRouter()
        else {
            return nil
        }
        return [
            "severity": "bad", "level": visit.text("severity:error"), "text": visit.text("noRouter"),
            "what": visit.text("do:noRouter"), "href": "\(visit.root)/records/mailboxes", "button": visit.text("showThem"),
            "message": false,
        ]
    }

    // MARK: Tiles

    private func mailboxTile(_ counts: MailboxCounts, _ visit: Visit) -> [String: Any] {
        let shown = MailboxState.inCharts.filter { counts[$0] > 0 }
        let names = shown.map { "\(visit.text("mailboxState:\($0.rawValue)")) \(visit.texts.number(counts[$0]))" }
        return [
            "total": visit.texts.number(counts.total), "totalText": visit.texts.count("mailboxesInAll", counts.total),
            "isEmpty": counts.total == 0,
            "mayConnect": Self.may(.create, .mailbox, visit),
            "chart": Charts.parts(
                shown.map { (counts[$0], $0.chartStyle) },
                alternative: visit.texts.labelled(visit.text("mailbox"), names.joined(separator: ", "))),
            "parts": shown.map { state -> [String: Any] in
                [
                    "style": state.chartStyle, "text": visit.text("mailboxState:\(state.rawValue)"),
                    "count": visit.texts.number(counts[state]),
                    "href": "\(visit.root)/records/mailboxes?status=\(state.rawValue)",
                ]
            },
        ]
    }
}
