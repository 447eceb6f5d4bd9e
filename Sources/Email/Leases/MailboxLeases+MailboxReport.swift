public import Foundation
import Model
import PostgresClient
import RouterProtocol
import Tenancy

/// How a router's turn at a mailbox ended.
public struct MailboxReport: Sendable {
    public var routerState: String?
    public var processed = 0
    public var failed = 0
    /// Whether each direction was tried, and well.
    public var isIncomingWell: Bool?
    public var isOutgoingWell: Bool?
    public var error: Problem?
    /// What is to be said about single messages.
    public var alerts: [Problem] = []
    /// Seconds after which the mailbox is due again.
    public var interval = 300
    /// Whether the turn was a test, or ends one.
    public var endsTest = true
    /// The router that would wait for new messages on its connection, and the lease's revision; nil for none.
    public var watch: (router: String, revision: String)?

    /// What is wrong with a mailbox, and what to do.
    public struct Problem: Sendable {
        public let code: Int
        public let text: String
        public let details: String
        public let isPermanent: Bool

        public init(code: Int, text: String, details: String, isPermanent: Bool) {
            (self.code, self.text, self.details, self.isPermanent) = (code, text, details, isPermanent)
        }
    }

    public init() {}
}

extension MailboxLeases {
    /// Gives a mailbox back, with what became of it.
    ///
    /// - Returns: Whether the router may wait for new messages on its connection.
    @discardableResult
    public func reportMailbox(_ id: UUID, host: String, _ report: MailboxReport) async throws -> Bool {
        return try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                try session.renewLease(id, host, for: .reporting, on: connection)
                let verdict = try verdict(on: report, id, on: connection)
                try write(report, verdict, id, host, on: connection)
                for problem in report.alerts {
                    try session.alert(
                        .mailbox, id, level: 2, code: problem.code, text: problem.text, details: problem.details, on: connection)
                }
                if let error = report.error {
                    let text =
                        verdict.isPermanent
                        ? "\(error.text) The mailbox is disabled until it is tested and enabled again." : error.text
                    try session.alert(
                        .mailbox, id, level: verdict.needsPerson ? 3 : 2, code: error.code, text: text, details: error.details,
                        on: connection)
                }
                guard let watch = report.watch, report.error == nil else { return false }
                return try startWatching(id, watch.router, watch.revision, on: connection)
            }
        }
    }

    /// What a report means for the mailbox.
    private struct Verdict {
        /// Failures in a row, kept where they count.
        var failures: Int
        /// Whether the mailbox is disabled.
        var isPermanent: Bool
        /// Whether it goes on only after a person did something.
        var needsPerson: Bool
        /// Seconds until it is due again.
        var wait: Int
    }

    private func verdict(on report: MailboxReport, _ id: UUID, on connection: isolated PostgresConnection) throws -> Verdict {
        guard let error = report.error else {
            return Verdict(failures: 0, isPermanent: false, needsPerson: false, wait: report.interval)
        }
        let failures: Int = try connection.query(
            "SELECT coalesce(transientfailurecount, 0) + 1 FROM \(organization.qualified("mailbox")) WHERE mailboxid = $1",
            [.uuid(id)]
        )[0].decode(0)
        // It is the organization's to get its key back; no mailbox is switched off for that.
        let waitsForKey = error.code == AlertCode.keyRequired
        // Settings that were changed past the service are an administrator's to check; the mailbox goes on by itself then.
        let waitsForReview = error.code == AlertCode.notAuthorized
        let isPermanent = !waitsForKey && !waitsForReview && (error.isPermanent || failures >= Self.transientLimit)
        // The longer it fails the longer it is left alone, up to an hour.
        let wait =
            isPermanent && report.isIncomingWell == true
            // The direction that failed is disabled; the other one goes on.
            ? report.interval
            : waitsForKey
                ? min(30, report.interval) : min(3_600, max(report.interval, 30) << min(failures - 1, 7))
        return Verdict(
            failures: isPermanent || waitsForKey ? 0 : failures, isPermanent: isPermanent,
            needsPerson: isPermanent || waitsForReview, wait: wait)
    }

    private func write(
        _ report: MailboxReport, _ verdict: Verdict, _ id: UUID, _ host: String, on connection: isolated PostgresConnection
    ) throws {
        func status(_ isWell: Bool?) -> PostgresParameter { .int32(isWell.map { $0 ? 1 : 2 }) }
        _ = try connection.query(
            writing,
            [
                .uuid(id), .text(report.routerState), .int32(Int32(clamping: report.processed)),
                .int32(Int32(clamping: report.failed)),
                status(report.isIncomingWell), status(report.isOutgoingWell), .bool(verdict.isPermanent), .text(report.error?.text),
                .int32(report.error.map { Int32(clamping: $0.code) }), .int32(Int32(verdict.failures)),
                .double(Double(verdict.wait)),
                .text(host), .bool(report.endsTest),
            ])
    }

    /// The statement that writes a report.
    ///
    /// A turn that did not try the direction that failed last says nothing about that direction: its error stays. A turn that did not
    /// fetch leaves the time of the next poll as it is. A test that was asked for while another turn was under way is not ended by
    /// that turn.
    private var writing: String {
        """
        UPDATE \(organization.qualified("mailbox")) AS m
           SET hostid = NULL, processingstatecode = 0, router_state = coalesce($2, router_state),
               itemsprocessedforlastsync = $3, itemsfailedforlastsync = $4, processedtimes = coalesce(processedtimes, 0) + 1,
               noemailcount = CASE WHEN $3 = 0 THEN coalesce(noemailcount, 0) + 1 ELSE 0 END,
               lastduration = least(extract(epoch FROM now() - lastsyncstartedon) * 1000, 2147483647)::integer,
               incomingemailstatus = coalesce($5, incomingemailstatus), outgoingemailstatus = coalesce($6, outgoingemailstatus),
               mailboxstatus = CASE WHEN old.clears THEN 1 WHEN $8 IS NULL THEN mailboxstatus ELSE 2 END,
               enabledforincomingemail = CASE WHEN $7 AND $5 = 2 THEN false WHEN old.ends_test AND $5 = 1 THEN true ELSE enabledforincomingemail END,
               enabledforoutgoingemail = CASE WHEN $7 AND $6 = 2 THEN false WHEN old.ends_test AND $6 = 1 THEN true ELSE enabledforoutgoingemail END,
               testmailboxaccesscompletedon = CASE WHEN old.ends_test THEN now() ELSE testmailboxaccesscompletedon END,
               testemailconfigurationscheduled = testemailconfigurationscheduled AND NOT old.ends_test,
               lastsyncerror = CASE WHEN old.clears THEN NULL ELSE coalesce(left($8, 2048), lastsyncerror) END,
               lastsyncerrorcode = CASE WHEN old.clears THEN NULL ELSE coalesce($9, lastsyncerrorcode) END,
               lastsyncerrorcount = CASE WHEN old.clears THEN 0 WHEN $8 IS NULL THEN lastsyncerrorcount ELSE coalesce(lastsyncerrorcount, 0) + 1 END,
               lastsyncerroroccurredon = CASE WHEN $8 IS NULL THEN lastsyncerroroccurredon ELSE now() END,
               lastsyncerrormachinename = CASE WHEN $8 IS NULL THEN lastsyncerrormachinename ELSE left($12, 320) END,
               lastsuccessfulsynccompletedon = CASE WHEN $8 IS NULL THEN now() ELSE lastsuccessfulsynccompletedon END,
               transientfailurecount = CASE WHEN $8 IS NULL AND NOT old.clears THEN transientfailurecount ELSE $10 END,
               postponemailboxprocessinguntil = CASE
                   WHEN $8 IS NULL AND $5 IS NULL AND \(DueMailboxes.receives) THEN postponemailboxprocessinguntil
                   ELSE now() + interval '1 second' * greatest(
                       -- After a test that succeeded, mail is fetched at once.
                       CASE WHEN ($8 IS NULL OR $7) AND old.ends_test AND $5 = 1 THEN 0 ELSE $11 END,
                       CASE WHEN $11 > 0 THEN (SELECT 60 * p.minpollingintervalinminutes FROM \(organization.qualified("emailserverprofile")) AS p
                           WHERE p.emailserverprofileid = m.emailserverprofile) END) END
          FROM (SELECT m.mailboxid, $8 IS NULL
                       AND NOT ($5 IS NULL AND coalesce(m.incomingemaildeliverymethod IN (2, 3) AND m.incomingemailstatus = 2, false))
                       AND NOT ($6 IS NULL AND coalesce(m.outgoingemaildeliverymethod = 2 AND m.outgoingemailstatus = 2, false)) AS clears,
                       coalesce(m.testemailconfigurationscheduled, false) AND $13 AS ends_test
                  FROM \(organization.qualified("mailbox")) AS m WHERE m.mailboxid = $1) AS old
         WHERE m.mailboxid = old.mailboxid
        """
    }
}
