import PostgresClient
import Tenancy

// The audit of records.
extension Doctor {
    /// How many of the newest audit entries a normal examination verifies (`--deep` verifies all).
    static let recentEntries = 20_000

    /// Reports sealed entries that were changed, removed or added, entries that no trigger can have written, and entries that are
    /// not sealed in time.
    func audit(
        of organization: Organization, _ extent: AuditExtent, on connection: isolated PostgresConnection
    ) throws -> [Finding] {
        let report = try AuditVerifier(organization: organization).verify(extent, on: connection)
        var findings = report.problems.prefix(10).map {
            Finding(
                .error, "audit-changed", organization.name, $0,
                advice: "compare the audit with a backup, because SQL changed the evidence; fieldseal events verify names all "
                    + "changed entries")
        }
        let doubted: Int = try connection.query(
            """
            SELECT count(*) FROM \(organization.qualified("security_event"))
             WHERE \(EventsOfKind.condition("$1")) AND occurred_on > now() - interval '30 days'
            """, [.text(SecurityEvent.Kind.auditDoubted.rawValue)])[0].decode(0)
        if doubted > 0 {
            findings.append(
                Finding(
                    .warning, "audit-doubted", organization.name,
                    "in the last 30 days, entries of the audit were sealed that no trigger can have written in this form",
                    advice: "find out who inserted them with SQL: fieldseal events export, kind \"audit entries doubted\""))
        }
        if let problem = try unsealed(of: organization, report, on: connection) {
            findings.append(
                Finding(
                    .warning, "audit-not-sealed", organization.name, problem,
                    advice: "start a server, or run fieldseal events seal; if a server runs, find out what keeps it from sealing"))
        }
        return Array(findings)
    }

    /// The reason to report that the audit is not sealed as it should be; nil if it is.
    private func unsealed(
        of organization: Organization, _ report: AuditReport, on connection: isolated PostgresConnection
    ) throws -> String? {
        guard report.unsealed > 0 else { return nil }
        if report.overdue > 0 {
            return "\(report.overdue) entries of the audit are more than 15 minutes old and not sealed: SQL could change them "
                + "unnoticed"
        }
        // SQL can change the times of unsealed entries, so that they do not look overdue. So the newest event about sealing is
        // checked too.
        let newest = EventsOfKind.newest(of: [.auditSealed, .auditNotSealed], in: organization)
        let kind: String? = try connection.query("SELECT kind FROM \(newest) AS e").first?.decode(0)
        guard kind == SecurityEvent.Kind.auditNotSealed.rawValue else { return nil }
        return "\(report.unsealed) entries of the audit are not sealed, and a server recorded that it can't seal them: SQL could "
            + "change them unnoticed"
    }
}
