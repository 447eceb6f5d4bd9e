package import Foundation
import Model
import PostgresClient
package import RouterProtocol
import Tenancy

extension MailboxLeases {
    /// Returns a leased mailbox, with a report of the turn.
    ///
    /// - Returns: Whether the router may wait for new messages on its connection.
    @discardableResult
    package func reportMailbox(_ id: UUID, host: String, _ report: MailboxReport) async throws -> Bool {
        return try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                try session.renewLease(id, host, for: .reporting, on: connection)
                let report = try explained(report, id, on: connection)
                let verdict = try verdict(on: report, id, on: connection)
                try write(report, verdict, id, host, on: connection)
                for problem in report.alerts ?? [] {
                    try session.alert(
                        .mailbox, id, level: .warning, code: problem.code ?? 0, text: problem.text, details: problem.details ?? "",
                        on: connection)
                }
                if let error = report.error {
                    let text = verdict.isPermanent ? "\(error.text) \(Self.disabledNote)" : error.text
                    try session.alert(
                        .mailbox, id, level: verdict.needsPerson ? .error : .warning, code: error.code ?? 0, text: text,
                        details: error.details ?? "", on: connection)
                }
                guard let watcher = report.watcher, let revision = report.revision, report.error == nil else { return false }
                return try startWatching(id, watcher, revision, on: connection)
            }
        }
    }

    /// The sentence that is added to the report of a failure that disables a mailbox.
    package static let disabledNote = "The mailbox is disabled until it is tested and enabled again."

    /// The sentence that is added to the report of a failure of incoming mail if the server profile names no type.
    package static let noTypeNote = "The server profile names no server type, so POP3 is used."

    /// The report, with a sentence about a missing server type if that is a likely reason of the failure.
    private func explained(
        _ report: MailboxReport, _ id: UUID, on connection: isolated PostgresConnection
    ) throws -> MailboxReport {
        guard let error = report.error, report.incomingIsWell == false else { return report }
        let typeless = try connection.query(
            """
            SELECT FROM \(organization.qualified("mailbox")) AS m
              JOIN \(organization.qualified("emailserverprofile")) AS p ON p.emailserverprofileid = m.emailserverprofile
             WHERE m.mailboxid = $1 AND p.servertype IS NULL
            """, [.uuid(id)])
        guard !typeless.isEmpty else { return report }
        var explained = report
        explained.error?.text = "\(error.text) \(Self.noTypeNote)"
        return explained
    }

    /// Seconds until a mailbox is due again if the report gives none, and the longest time that a report may give.
    private static let defaultInterval = 300
    private static let longestInterval = 86_400

    /// The consequences of a report for the mailbox.
    private struct Verdict {
        /// Consecutive failures; 0 if the failure is permanent or the key is missing.
        var failures: Int
        /// Whether to disable the mailbox.
        var isPermanent: Bool
        /// Whether a person has to act.
        var needsPerson: Bool
        /// Seconds until the mailbox is due again.
        var wait: Int
    }

    private func verdict(on report: MailboxReport, _ id: UUID, on connection: isolated PostgresConnection) throws -> Verdict {
        let interval = min(max(report.interval ?? Self.defaultInterval, 0), Self.longestInterval)
        guard let error = report.error else {
            return Verdict(failures: 0, isPermanent: false, needsPerson: false, wait: interval)
        }
        let failures: Int = try connection.query(
            """
            SELECT \(StoredCount("transientfailurecount").increased()) FROM \(organization.qualified("mailbox")) WHERE mailboxid = $1
            """, [.uuid(id)]
        )[0].decode(0)
        // If the organization lacks its key, the mailbox is not the cause, so it is not disabled.
        let waitsForKey = error.code == AlertCode.keyRequired
        // An administrator has to check settings that the service did not write. After this check the mailbox continues without
        // being enabled again.
        let waitsForReview = error.code == AlertCode.notAuthorized
        // A temporary failure may be the fault of a server, a network or the deployment, and may last long. For this reason, a
        // temporary failure disables no mailbox. Only a password that was refused ten times in a row counts as wrong.
        let isRefused = error.code == AlertCode.wrongPassword && failures >= Self.transientLimit
        let isPermanent = !waitsForKey && !waitsForReview && (error.isPermanent == true || isRefused)
        let needsPerson = waitsForReview || error.code == AlertCode.certificate || !waitsForKey && failures >= Self.transientLimit
        // Waits longer after each failure, up to an hour.
        let wait =
            isPermanent && report.incomingIsWell == true
            // The direction that failed is disabled; the other direction continues.
            ? interval
            : waitsForKey
                ? min(30, interval) : min(3_600, max(interval, 30) << min(failures - 1, 7))
        return Verdict(
            failures: isPermanent || waitsForKey ? 0 : failures, isPermanent: isPermanent,
            needsPerson: isPermanent || needsPerson, wait: wait)
    }

    private func write(
        _ report: MailboxReport, _ verdict: Verdict, _ id: UUID, _ host: String, on connection: isolated PostgresConnection
    ) throws {
        func status(_ isWell: Bool?) -> PostgresParameter {
            .int32(isWell.map { Int32(($0 ? MailOutcome.success : .failure).rawValue) })
        }
        _ = try connection.pipeline([
            caller.auditSettings,
            (
                writing,
                [
                    .uuid(id), .text(report.routerState), .int32(Int32(clamping: report.processed ?? 0)),
                    .int32(Int32(clamping: report.failed ?? 0)),
                    status(report.incomingIsWell), status(report.outgoingIsWell), .bool(verdict.isPermanent),
                    .text(report.error?.text),
                    .int32(report.error.map { Int32(clamping: $0.code ?? 0) }), .int32(Int32(verdict.failures)),
                    .double(Double(verdict.wait)),
                    .text(host), .bool(report.tests ?? true),
                ]
            ),
        ])
    }

    /// SQL for the outcome that a direction had before this report. A direction that failed because the key was missing becomes
    /// *not run* once a turn succeeds, because the key is back.
    private func awaiting(_ status: String) -> String {
        """
        CASE WHEN $8 IS NULL AND coalesce($5, $6) IS NOT NULL AND m.lastsyncerrorcode = \(AlertCode.keyRequired)
                  AND \(status) = \(MailOutcome.failure.sql)
             THEN \(MailOutcome.notRun.sql) ELSE \(status) END
        """
    }

    /// The statement that writes a report.
    ///
    /// - If the turn did not try the direction that failed last, that direction's error stays. An error about a missing key is
    ///   cleared in any case, because a turn that succeeds shows that the key is back.
    /// - If the turn did not fetch, the time of the next poll stays.
    /// - If a test was requested during another turn, the test stays requested. This is also true if the other turn was a test,
    ///   because that turn may have begun with other settings. Only people and clients write `modifiedon`.
    private var writing: String {
        let (success, failure) = (MailOutcome.success.sql, MailOutcome.failure.sql)
        return """
            UPDATE \(organization.qualified("mailbox")) AS m
               SET hostid = NULL, processingstatecode = \(ProcessingState.idle.sql), router_state = coalesce($2, router_state),
                   itemsprocessedforlastsync = $3, itemsfailedforlastsync = $4, processedtimes = \(StoredCount("processedtimes").increased()),
                   noemailcount = CASE WHEN $3 = 0 THEN \(StoredCount("noemailcount").increased()) ELSE 0 END,
                   lastduration = least(greatest(CASE WHEN isfinite(lastsyncstartedon) THEN extract(epoch FROM now() - lastsyncstartedon) * 1000 END, 0), 2147483647)::integer,
                   incomingemailstatus = coalesce($5, old.incoming), outgoingemailstatus = coalesce($6, old.outgoing),
                   mailboxstatus = CASE WHEN old.clears THEN \(success) WHEN $8 IS NULL THEN mailboxstatus ELSE \(failure) END,
                   enabledforincomingemail = CASE WHEN $7 AND $5 = \(failure) THEN false WHEN old.ends_test AND $5 = \(success) THEN true ELSE enabledforincomingemail END,
                   enabledforoutgoingemail = CASE WHEN $7 AND $6 = \(failure) THEN false WHEN old.ends_test AND $6 = \(success) THEN true ELSE enabledforoutgoingemail END,
                   testmailboxaccesscompletedon = CASE WHEN old.ends_test THEN now() ELSE testmailboxaccesscompletedon END,
                   testemailconfigurationscheduled = testemailconfigurationscheduled AND NOT old.ends_test,
                   lastsyncerror = CASE WHEN old.clears THEN NULL ELSE coalesce(left($8, 2048), lastsyncerror) END,
                   lastsyncerrorcode = CASE WHEN old.clears THEN NULL ELSE coalesce($9, lastsyncerrorcode) END,
                   lastsyncerrorcount = CASE WHEN old.clears THEN 0 WHEN $8 IS NULL THEN lastsyncerrorcount ELSE \(StoredCount("lastsyncerrorcount").increased()) END,
                   lastsyncerroroccurredon = CASE WHEN $8 IS NULL THEN lastsyncerroroccurredon ELSE now() END,
                   lastsyncerrormachinename = CASE WHEN $8 IS NULL THEN lastsyncerrormachinename ELSE left($12, 320) END,
                   lastsuccessfulsynccompletedon = CASE WHEN $8 IS NULL THEN now() ELSE lastsuccessfulsynccompletedon END,
                   transientfailurecount = CASE WHEN $8 IS NULL AND NOT old.clears THEN transientfailurecount ELSE $10 END,
                   postponemailboxprocessinguntil = CASE
                       WHEN $8 IS NULL AND $5 IS NULL AND \(DueMailboxes.receives) THEN postponemailboxprocessinguntil
                       ELSE now() + interval '1 second' * greatest(
                           -- After a successful test, mail is fetched at once.
                           CASE WHEN ($8 IS NULL OR $7) AND old.ends_test AND $5 = \(success) THEN 0 ELSE $11 END,
                           CASE WHEN $11 > 0 THEN (SELECT 60 * p.minpollingintervalinminutes::double precision FROM \(organization.qualified("emailserverprofile")) AS p
                               WHERE p.emailserverprofileid = m.emailserverprofile) END) END
              FROM (SELECT o.mailboxid, o.incoming, o.outgoing, o.ends_test,
                           $8 IS NULL
                           AND NOT ($5 IS NULL AND coalesce(o.incomingemaildeliverymethod IN \(DeliveryMethod.receiving.sql) AND o.incoming = \(failure), false))
                           AND NOT ($6 IS NULL AND coalesce(o.outgoingemaildeliverymethod = \(DeliveryMethod.serverSide.sql) AND o.outgoing = \(failure), false)) AS clears
                      FROM (SELECT m.mailboxid, m.incomingemaildeliverymethod, m.outgoingemaildeliverymethod,
                                   \(awaiting("m.incomingemailstatus")) AS incoming, \(awaiting("m.outgoingemailstatus")) AS outgoing,
                                   coalesce(m.testemailconfigurationscheduled, false) AND $13
                                       AND coalesce(m.modifiedon <= m.lastsyncstartedon, true) AS ends_test
                              FROM \(organization.qualified("mailbox")) AS m WHERE m.mailboxid = $1) AS o) AS old
             WHERE m.mailboxid = old.mailboxid
            """
    }
}
