package import Foundation
import JSON
import Model
import PostgresClient
import Records
package import RouterProtocol
import Tenancy

extension MailboxLeases {
    /// A router's report about one e-mail, with the e-mail's id as a UUID.
    package typealias EmailReport = (email: UUID, report: SendingReport)

    /// Records the progress of e-mails that a router reports. Either all reports are recorded, or none.
    ///
    /// A router repeats a report whose response was lost. A repeated report changes nothing.
    package func reportEmails(_ reports: [EmailReport], mailbox: UUID, host: String) async throws {
        try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                // An e-mail is not handed over if its mailbox was disabled meanwhile.
                let handsOver = reports.contains { $0.report.outcome == .handingOver }
                try session.renewLease(mailbox, host, for: handsOver ? .handingOver : .reporting, on: connection)
                // Reports of these outcomes take one round trip.
                let isPlain: Set<SendingReport.Outcome> = [.handingOver, .sent]
                try writeProgress(reports.filter { isPlain.contains($0.report.outcome) }, mailbox, on: connection)
                for report in reports where !isPlain.contains(report.report.outcome) { try write(report, mailbox, on: connection) }
            }
        }
    }

    private static func notBeingSent(_ id: UUID) -> FieldsealError {
        FieldsealError(.concurrencyVersionMismatch, "The e-mail \(id.text) is not being sent from this mailbox.")
    }

    /// Records which e-mails are being handed over, and which were sent.
    private func writeProgress(_ reports: [EmailReport], _ mailbox: UUID, on connection: isolated PostgresConnection) throws {
        guard !reports.isEmpty else { return }
        let written = try connection.query(
            progress,
            [.uuid(mailbox), .uuids(reports.map(\.email)), .bools(reports.map { $0.report.outcome == .handingOver })])
        let known = Set(try written.map { try $0.decode(0, as: UUID.self) })
        for report in reports where !known.contains(report.email) { try requireTold(report, mailbox, on: connection) }
    }

    /// Records progress. $1 is the mailbox, $2 the e-mails, $3 says for each e-mail whether it is being handed over (true) or was
    /// sent (false).
    ///
    /// E-mails that are reported together keep their order in the times of sending.
    private var progress: String {
        """
        UPDATE \(organization.qualified("email")) AS e
           SET statuscode = CASE WHEN report.hands_over THEN \(EmailStatus.sending.sql) ELSE \(EmailStatus.sent.sql) END,
               is_handed_over = report.hands_over, failure = NULL,
               senton = CASE WHEN report.hands_over THEN e.senton ELSE now() + report.number * interval '1 microsecond' END,
               actualend = CASE WHEN report.hands_over THEN e.actualend ELSE now() END,
               versionnumber = nextval('\(organization.qualified("version_number"))')
          FROM unnest($2, $3) WITH ORDINALITY AS report (activityid, hands_over, number)
         WHERE e.activityid = report.activityid AND e.sendermailboxid = $1 AND e.statuscode = \(EmailStatus.sending.sql)
        RETURNING e.activityid
        """
    }

    /// The statuses that an e-mail can have after an outcome was recorded.
    private static func results(of outcome: SendingReport.Outcome) -> Set<EmailStatus> {
        switch outcome {
        case .handingOver: []
        case .sent: [.sent]
        case .temporary: [.pendingSend, .failed]
        case .permanent, .unknown: [.failed]
        }
    }

    /// Handles a report about an e-mail that is not being sent. Accepts the report if the same outcome was reported before,
    /// otherwise throws.
    private func requireTold(_ report: EmailReport, _ mailbox: UUID, on connection: isolated PostgresConnection) throws {
        let rows = try connection.query(
            "SELECT statuscode FROM \(organization.qualified("email")) WHERE activityid = $1 AND sendermailboxid = $2",
            [.uuid(report.email), .uuid(mailbox)])
        guard let code = try rows.first?.decodeIfPresent(0, as: Int.self), let status = EmailStatus(rawValue: Int64(code)),
            Self.results(of: report.report.outcome).contains(status)
        else { throw Self.notBeingSent(report.email) }
    }

    /// Records that an e-mail was not sent, or that the outcome is unknown.
    private func write(_ told: EmailReport, _ mailbox: UUID, on connection: isolated PostgresConnection) throws {
        let (id, report) = told
        let rows = try connection.query(
            """
            SELECT greatest(\(StoredCount("deliveryattempts").value), 1) AS attempts FROM \(organization.qualified("email"))
             WHERE activityid = $1 AND sendermailboxid = $2 AND statuscode = \(EmailStatus.sending.sql) FOR UPDATE
            """, [.uuid(id), .uuid(mailbox)])
        guard let row = rows.first else { return try requireTold(told, mailbox, on: connection) }
        let attempts: Int = try row.decode("attempts")
        let isExhausted = report.outcome == .temporary && attempts >= mail.sendingAttempts
        let isRetried = report.outcome == .temporary && !isExhausted
        let reason = report.reason ?? ""
        let text = report.outcome == .unknown ? "\(Self.deliveryUnknownMessage) (\(reason))" : reason
        let status = isRetried ? EmailStatus.pendingSend : .failed
        _ = try connection.query(
            """
            UPDATE \(organization.qualified("email")) SET statuscode = $2, is_handed_over = false, failure = left($3, 4000),
                   postponeemailprocessinguntil = CASE WHEN $5 THEN now() + $4 * interval '1 second' END,
                   versionnumber = nextval('\(organization.qualified("version_number"))')
             WHERE activityid = $1
            """,
            [
                .uuid(id), .int32(Int32(status.rawValue)), .text(text), .double(Double(min(3_600, 60 << min(attempts - 1, 6)))),
                .bool(isRetried),
            ])
        try session.alert(
            .mailbox, mailbox, level: isRetried ? .warning : .error,
            code: isExhausted ? AlertCode.attemptsExhausted : report.code ?? 0,
            text: Self.alert(isRetried ? .pendingSend : .failed, text),
            details: "e-mail \(id.text), attempt \(attempts)", on: connection)
    }

    /// The text of an alert about an e-mail that was not sent. The text lacks the subject, because readers of alerts may not be
    /// allowed to read the e-mail.
    private static func alert(_ status: EmailStatus, _ reason: String) -> String {
        status == .failed
            ? "An e-mail was not sent. \(reason)" : "An e-mail could not be sent yet, and will be tried again. \(reason)"
    }
}
