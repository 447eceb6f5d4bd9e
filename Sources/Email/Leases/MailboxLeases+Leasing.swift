package import Foundation
import JSON
import Model
import PostgresClient
import Records
package import RouterProtocol
import Tenancy

extension MailboxLeases {
    /// Consecutive failures after which a person has to look at a temporary error.
    static let transientLimit = 10
    /// Simultaneous connections of one profile, if the profile sets no limit.
    static let connectionsPerProfile = 10

    /// Leases the mailbox that is due first.
    ///
    /// If the mailbox's last router ended without a report, the e-mails that this router took are settled too. E-mails that this
    /// router had not handed over become pending again. E-mails that it was handing over become *Failed*, because it is unknown
    /// whether they were sent.
    ///
    /// - Parameters:
    ///   - host: The router's name for this lease, new each time.
    ///   - mailbox: The mailbox to lease, because its server has new messages; nil for any mailbox.
    /// - Returns: Nil when no mailbox is due.
    package func leaseMailbox(host: String, mailbox: UUID? = nil) async throws -> MailboxLease? {
        return try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                // Leases are serialized: a session that counts a profile's mailboxes must see all leases that were made before.
                _ = try connection.pipeline([
                    caller.auditSettings,
                    ("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [.text("\(organization.id.text) lease")]),
                ])
                guard let row = try connection.query(leasing(mailbox), [.text(host)] + (mailbox.map { [.uuid($0)] } ?? [])).first
                else {
                    return nil
                }
                let id: UUID = try row.decode("mailboxid")
                let lease = try lease(id, row)
                // Deletes the watch of a router that ended. Otherwise the mailbox would stay due because of the old watch.
                _ = try connection.query(
                    """
                    DELETE FROM \(organization.qualified("mailbox_watch")) AS w WHERE w.mailboxid = $1 AND NOT EXISTS (
                        SELECT FROM \(organization.qualified("mail_router")) AS r WHERE r.router = w.router AND \(DueMailboxes.isAlive("r")))
                    """, [.uuid(id)])
                try settleSending(of: id, on: connection)
                return lease
            }
        }
    }

    /// The statement that leases a mailbox. $1 is the lease's name, $2 the requested mailbox.
    ///
    /// A subquery in FROM may run once for each row of the updated table, and then finds another mailbox each time. MATERIALIZED
    /// makes the subquery run once.
    private func leasing(_ mailbox: UUID?) -> String {
        let due = DueMailboxes(session)
        let wanted = mailbox.map { _ in "(m.mailboxid = $2 AND \(DueMailboxes.receives))" }
        // A mailbox is requested because it has new messages.
        let receives = wanted == nil ? "(\(due.receivesNow) OR \(DueMailboxes.receives) AND \(DueMailboxes.wasLeft))" : "true"
        return """
            WITH due AS MATERIALIZED (
                SELECT m.mailboxid, p.servertype, \(DueMailboxes.wasLeft) AS wasleft, \(DueMailboxes.revision) AS revision,
                       \(receives) AS receives,
                       \(due.sendsNow) AS sends,
                       coalesce(m.processemailreceivedafter, p.processemailsreceivedafter) AS after,
                       CASE WHEN p.moveundeliveredemails THEN coalesce(nullif(m.undeliverablefolder, ''), 'Undeliverable') END AS folder,
                       CASE WHEN p.timeoutmailboxconnection AND p.timeoutmailboxconnectionafteramount > 0
                            THEN (p.timeoutmailboxconnectionafteramount::bigint + 999) / 1000 END AS timeout
                  FROM \(due.source)
                 WHERE \(due.condition(wanted))
                 ORDER BY \(due.order)
                 LIMIT 1 FOR UPDATE OF m SKIP LOCKED)
            UPDATE \(organization.qualified("mailbox")) AS m
               SET hostid = $1, processingstatecode = \(ProcessingState.leased.sql), processinglastattemptedon = now(), lastsyncstartedon = now(),
                   forcedunlockcount = \(StoredCount("forcedunlockcount").increased("due.wasleft::integer")),
                   lastmailboxforcedunlockoccurredon = CASE WHEN due.wasleft THEN now() ELSE lastmailboxforcedunlockoccurredon END
              FROM due
             WHERE m.mailboxid = due.mailboxid
            RETURNING m.mailboxid, m.name, m.emailaddress,
                coalesce(m.isforwardmailbox, false) AND m.regardingobjectid IS NULL AS is_forward, due.receives, due.sends,
                coalesce(m.testemailconfigurationscheduled, false) AS tests, due.servertype,
                coalesce(m.processanddeleteemails, false)
                    AND (coalesce(m.isforwardmailbox, false) OR m.regardingobjecttypecode = 'queue') AS deletes,
                due.after, coalesce(due.timeout, 60) AS timeout, m.router_state, due.folder,
                (SELECT greatest(coalesce(max(maxuploadfilesize), 5242880), 0) FROM \(organization.qualified("organization"))) AS attachment_limit,
                (SELECT string_agg(uid, E'\\n') FROM (SELECT uid FROM \(organization.qualified("mailbox_message")) AS s
                    WHERE s.mailboxid = m.mailboxid AND s.next_attempt <= now() ORDER BY s.next_attempt LIMIT 50) AS due) AS set_aside,
                due.revision, \(DueMailboxes.usesIncoming) AS uses_incoming,
                \(DueMailboxes.usesOutgoing) AS uses_outgoing
            """
    }

    private func lease(_ id: UUID, _ row: PostgresRow) throws -> MailboxLease {
        var lease = MailboxLease(
            mailboxId: id.text, name: try row.decodeIfPresent("name") ?? "", address: try row.decodeIfPresent("emailaddress") ?? "",
            isForward: try row.decode("is_forward"), work: try work(row),
            serverType: try row.decodeIfPresent("servertype") ?? MailServerType.pop3.rawValue,
            deletesAfterProcessing: try row.decode("deletes"),
            processesReceivedAfter: try row.decodeIfPresent("after", as: Date.self).map { ISO8601.text($0) },
            timeout: try row.decode("timeout"), routerState: try row.decodeIfPresent("router_state"),
            undeliverableFolder: try row.decodeIfPresent("folder"), attachmentLimit: try row.decode("attachment_limit"),
            setAside: (try row.decodeIfPresent("set_aside") ?? "").split(separator: "\n").map(String.init),
            revision: try row.decode("revision"))
        lease.usesIncoming = try row.decode("uses_incoming", as: Bool.self)
        lease.usesOutgoing = try row.decode("uses_outgoing", as: Bool.self)
        return lease
    }

    private func work(_ row: PostgresRow) throws -> MailboxLease.Work {
        var work: MailboxLease.Work = []
        if try row.decodeIfPresent("receives") ?? false { work.insert(.receiving) }
        if try row.decodeIfPresent("sends") ?? false { work.insert(.sending) }
        if try row.decode("tests") { work.insert(.testing) }
        return work
    }

    private func settleSending(of mailbox: UUID, on connection: isolated PostgresConnection) throws {
        let unknown = try connection.query(
            """
            UPDATE \(organization.qualified("email"))
               SET statuscode = CASE WHEN is_handed_over THEN \(EmailStatus.failed.sql) ELSE \(EmailStatus.pendingSend.sql) END,
                   failure = CASE WHEN is_handed_over THEN $2 END,
                   versionnumber = nextval('\(organization.qualified("version_number"))')
             WHERE sendermailboxid = $1 AND statuscode = \(EmailStatus.sending.sql)
            RETURNING activityid, statuscode = \(EmailStatus.failed.sql) AS is_unknown
            """, [.uuid(mailbox), .text(Self.deliveryUnknownMessage)])
        let emails = try unknown.filter { try $0.decode("is_unknown") }.map { try $0.decode("activityid", as: UUID.self).text }
        guard !emails.isEmpty else { return }
        // The text names the e-mails, because only the newest of several equal alerts is kept.
        try session.alert(
            .mailbox, mailbox, level: .error, code: AlertCode.unknownOutcome,
            text: "\(Self.deliveryUnknownMessage) E-mail: \(emails.joined(separator: ", ")).", details: "\(emails.count) e-mails",
            on: connection)
    }

    package static let deliveryUnknownMessage =
        "The connection broke while the mail server was taking the message, so it is unknown whether it was sent. Ask a recipient, or search "
        + "the mail server's log for its Message-ID. Then send it again, or cancel it."
}
