public import Foundation
import JSON
import Model
import PostgresClient
public import RouterProtocol
import Tenancy

extension MailboxLeases {
    /// Failures in a row after which a temporary error counts as a permanent one.
    static let transientLimit = 10
    /// Connections of one profile at a time where it says nothing.
    static let connectionsPerProfile = 10

    /// Leases the mailbox that is due first.
    ///
    /// What a router left behind that did not come back is put right along with it: e-mails that it had not handed over are pending
    /// again; of those that it was handing over nobody knows, and they are *Failed* with that reason.
    ///
    /// - Parameters:
    ///   - host: The router's name for this lease, new each time.
    ///   - mailbox: The one mailbox to lease, because its server has new messages; nil for any.
    /// - Returns: Nil when nothing is due.
    public func leaseMailbox(host: String, mailbox: UUID? = nil) async throws -> MailboxLease? {
        return try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                // One after the other: who counts a profile's mailboxes has to see those that were leased a moment ago.
                _ = try connection.query(
                    "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [.text("\(organization.id.text) lease")])
                guard let row = try connection.query(leasing(mailbox), [.text(host)] + (mailbox.map { [.uuid($0)] } ?? [])).first
                else {
                    return nil
                }
                let id: UUID = try row.decode(0)
                let lease = try lease(id, row)
                // What a router that is gone watched is looked at now.
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

    /// The statement that leases a mailbox. $1 is the lease's name, $2 the one mailbox that is wanted.
    private func leasing(_ mailbox: UUID?) -> String {
        let due = DueMailboxes(organization: organization)
        let wanted = mailbox.map { _ in "(m.mailboxid = $2 AND \(DueMailboxes.receives))" }
        // A mailbox that is wanted has new messages.
        let receives = wanted == nil ? "(\(due.receivesNow) OR \(DueMailboxes.receives) AND \(DueMailboxes.wasLeft))" : "true"
        return """
            UPDATE \(organization.qualified("mailbox")) AS m
               SET hostid = $1, processingstatecode = 1, processinglastattemptedon = now(), lastsyncstartedon = now(),
                   forcedunlockcount = coalesce(forcedunlockcount, 0) + due.wasleft::int,
                   lastmailboxforcedunlockoccurredon = CASE WHEN due.wasleft THEN now() ELSE lastmailboxforcedunlockoccurredon END
              FROM (
                SELECT m.mailboxid, p.servertype, \(DueMailboxes.wasLeft) AS wasleft, \(DueMailboxes.revision) AS revision,
                       \(receives) AS receives,
                       \(due.sendsNow) AS sends,
                       coalesce(m.processemailreceivedafter, p.processemailsreceivedafter) AS after,
                       CASE WHEN p.moveundeliveredemails THEN coalesce(nullif(m.undeliverablefolder, ''), 'Undeliverable') END AS folder,
                       CASE WHEN p.timeoutmailboxconnection THEN (nullif(p.timeoutmailboxconnectionafteramount, 0) + 999) / 1000 END AS timeout
                  FROM \(due.source)
                 WHERE \(due.condition(wanted))
                 ORDER BY \(due.order)
                 LIMIT 1 FOR UPDATE OF m SKIP LOCKED) AS due
             WHERE m.mailboxid = due.mailboxid
            RETURNING m.mailboxid, m.name, m.emailaddress, coalesce(m.isforwardmailbox, false) AND m.regardingobjectid IS NULL,
                due.receives, due.sends, coalesce(m.testemailconfigurationscheduled, false), due.servertype,
                coalesce(m.processanddeleteemails, false) AND (coalesce(m.isforwardmailbox, false) OR m.regardingobjecttypecode = 'queue'),
                due.after, coalesce(due.timeout, 60), m.router_state, due.folder,
                (SELECT coalesce(max(maxuploadfilesize), 5242880) FROM \(organization.qualified("organization"))),
                (SELECT string_agg(uid, E'\\n') FROM (SELECT uid FROM \(organization.qualified("mailbox_message")) AS s
                    WHERE s.mailboxid = m.mailboxid AND s.next_attempt <= now() ORDER BY s.next_attempt LIMIT 50) AS due),
                due.revision
            """
    }

    private func lease(_ id: UUID, _ row: PostgresRow) throws -> MailboxLease {
        MailboxLease(
            mailboxId: id.text, name: try row.decodeIfPresent(1) ?? "", address: try row.decodeIfPresent(2) ?? "",
            isForward: try row.decode(3), receives: try row.decodeIfPresent(4) ?? false, sends: try row.decodeIfPresent(5) ?? false,
            tests: try row.decode(6), serverType: try row.decodeIfPresent(7) ?? 1, deletesAfterProcessing: try row.decode(8),
            processesReceivedAfter: try row.decodeIfPresent(9, as: Date.self).map { ISO8601.text($0) }, timeout: try row.decode(10),
            routerState: try row.decodeIfPresent(11), undeliverableFolder: try row.decodeIfPresent(12),
            attachmentLimit: try row.decode(13),
            setAside: (try row.decodeIfPresent(14) ?? "").split(separator: "\n").map(String.init), revision: try row.decode(15))
    }

    private func settleSending(of mailbox: UUID, on connection: isolated PostgresConnection) throws {
        let unknown = try connection.query(
            """
            UPDATE \(organization.qualified("email"))
               SET statuscode = CASE WHEN is_handed_over THEN 8 ELSE 6 END,
                   failure = CASE WHEN is_handed_over THEN $2 END,
                   versionnumber = nextval('\(organization.qualified("version_number"))')
             WHERE sendermailboxid = $1 AND statuscode = 7 RETURNING activityid, is_handed_over
            """, [.uuid(mailbox), .text(Self.nobodyKnows)])
        for row in unknown where try row.decode(1, as: Bool.self) {
            try session.alert(
                .mailbox, mailbox, level: 3, code: AlertCode.unknownOutcome, text: Self.nobodyKnows,
                details: "e-mail \(try row.decode(0, as: UUID.self).text)", on: connection)
        }
    }

    static let nobodyKnows =
        "The connection broke while the mail server was taking the message, so nobody knows whether it was sent. Ask a recipient, or look "
        + "into the mail server's log for its Message-ID; then send it again, or cancel it."
}
