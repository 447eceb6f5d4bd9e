package import Foundation
import JSON
import Model
import PostgresClient
import Records
package import RouterProtocol
import Tenancy

extension MailboxLeases {
    /// Takes the due e-mails of a leased mailbox, the most urgent first, and marks them *Sending*.
    ///
    /// An e-mail becomes *Failed* instead if its submitter may not send as its sender, or if it changed after it was submitted.
    package func takePendingEmails(_ mailbox: UUID, host: String, limit: Int) async throws -> [PendingEmail] {
        return try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                try session.renewLease(mailbox, host, for: .taking, on: connection)
                let rows = try connection.query(taking, [.uuid(mailbox), .int64(Int64(limit))])
                // The contents are read once, before any wait for a lock. So the router gets exactly the contents that were
                // verified.
                var contents = try contents(
                    of: rows.filter { try $0.decodeIfPresent("problem", as: String.self) == nil }, on: connection)
                var emails: [PendingEmail] = []
                for row in rows {
                    let id: UUID = try row.decode("activityid")
                    if let problem: String = try row.decodeIfPresent("problem") {
                        try refuse(id, mailbox, problem, on: connection)
                    } else if let content = contents.removeValue(forKey: id), try isSubmitted(row, content) {
                        emails.append(try email(row, content))
                    } else {
                        try failUnsubmitted(id, on: connection)
                        try refuse(id, mailbox, Self.notSubmitted, on: connection)
                    }
                }
                return emails
            }
        }
    }

    /// Marks due e-mails as *Sending*, or as *Failed* with a reason. $1 is the mailbox, $2 the number of e-mails.
    ///
    /// UPDATE returns rows in the order of its plan, so the rows are sorted again. MATERIALIZED keeps the plan from selecting more
    /// e-mails for each row that it visits.
    private var taking: String {
        """
        WITH due AS MATERIALIZED (\(due)),
        taken AS (
            UPDATE \(organization.qualified("email")) AS e
               SET statuscode = CASE WHEN due.problem IS NULL THEN \(EmailStatus.sending.sql) ELSE \(EmailStatus.failed.sql) END,
                   failure = due.problem,
                   deliveryattempts = \(StoredCount("e.deliveryattempts").increased("(due.problem IS NULL)::integer")), is_handed_over = false,
                   messageid = coalesce(e.messageid, '<' || e.activityid || '@' || due.domain || '>'),
                   message_references = CASE WHEN parent.messageid IS NULL THEN e.message_references
                      ELSE concat_ws(' ', right(parent.message_references, 30000), parent.messageid) END,
                   versionnumber = nextval('\(organization.qualified("version_number"))')
              FROM due
              LEFT JOIN LATERAL (SELECT p.messageid, p.message_references
                      FROM \(organization.qualified("email")) AS x JOIN \(organization.qualified("email")) AS p
                        ON p.activityid = x.parentactivityid WHERE x.activityid = due.activityid) AS parent ON true
             WHERE e.activityid = due.activityid
            RETURNING e.activityid, e.submitter, e.submitter_is_administrator, e.submission_tag, due.problem, due.sender_id,
                due.sender_address, e.subject, e.description, e.mimetype,
                e.messageid, parent.messageid AS answered_id, parent.message_references AS answered_references,
                coalesce(e.prioritycode, 1) AS priority, coalesce(e.readreceiptrequested, false) AS wants_receipt, e.createdon,
                e.deliveryprioritycode)
        SELECT * FROM taken ORDER BY deliveryprioritycode DESC NULLS LAST, createdon, activityid
        """
    }

    /// The due e-mails of a mailbox, locked, the most urgent first; equally urgent ones by age.
    private var due: String {
        """
        SELECT e.activityid, \(SenderRule.problem(in: organization)) AS problem, s.partyid AS sender_id, s.address AS sender_address,
               coalesce(nullif(regexp_replace(m.emailaddress, '^.*@', ''), ''), nullif(regexp_replace(s.address, '^.*@', ''), ''),
                   'localhost') AS domain
          FROM \(organization.qualified("email")) AS e JOIN \(organization.qualified("mailbox")) AS m ON m.mailboxid = e.sendermailboxid
          \(SenderRule.joins(in: organization))
         WHERE e.sendermailboxid = $1 AND e.statuscode = \(EmailStatus.pendingSend.sql)
           AND coalesce(e.delayedemailsendtime, '-infinity') <= now()
           AND coalesce(e.postponeemailprocessinguntil, '-infinity') <= now()
         ORDER BY e.deliveryprioritycode DESC NULLS LAST, e.createdon, e.activityid LIMIT $2 FOR UPDATE OF e SKIP LOCKED
        """
    }

    private static let notSubmitted =
        "The e-mail is not as it was submitted. It, a recipient or an attachment was changed later, or SQL stored it, and not the "
        + "service. Send it again."

    /// Whether the tag of an e-mail matches its contents, and its sender is the one that ``SenderRule`` allowed.
    private func isSubmitted(_ row: PostgresRow, _ content: SubmittedContent) throws -> Bool {
        guard let tag = try row.decodeIfPresent("submission_tag", as: PostgresBytes.self) else { return false }
        let (id, address): (UUID?, String?) = (try row.decodeIfPresent("sender_id"), try row.decodeIfPresent("sender_address"))
        let senders = content.parties.filter { $0.kind == Participation.sender.rawValue }
        guard senders.count == 1, senders[0].id == id, senders[0].address == address else { return false }
        return try Submission(row, content).isAuthentic(by: tag.bytes, in: organization, under: deployment.kek)
    }

    private func failUnsubmitted(_ email: UUID, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            """
            UPDATE \(organization.qualified("email"))
               SET statuscode = \(EmailStatus.failed.sql), failure = $2, deliveryattempts = greatest(deliveryattempts - 1, 0)
             WHERE activityid = $1
            """, [.uuid(email), .text(Self.notSubmitted)])
    }

    /// Records, in an alert and a security event, that the service did not give an e-mail to the router.
    private func refuse(_ email: UUID, _ mailbox: UUID, _ problem: String, on connection: isolated PostgresConnection) throws {
        try session.alert(
            .mailbox, mailbox, level: .error, code: AlertCode.mayNotSend, text: "An e-mail was not sent. \(problem)",
            details: "e-mail \(email.text)", on: connection)
        try session.record(
            SecurityEvent(.emailRefused, .refused, details: "e-mail \(email.text), mailbox \(mailbox.text): \(problem)"),
            on: connection)
    }

    // MARK: The contents to send

    /// The contents of ``taking``'s rows. One more round trip reads the senders, recipients and attachments of these e-mails.
    private func contents(
        of rows: [PostgresRow], on connection: isolated PostgresConnection
    ) throws -> [UUID: SubmittedContent] {
        guard !rows.isEmpty else { return [:] }
        let ids: [UUID] = try rows.map { try $0.decode("activityid") }
        let (parties, attachments) = try SubmittedContent.parts(of: ids, in: organization, on: connection)
        var contents: [UUID: SubmittedContent] = [:]
        for (id, row) in zip(ids, rows) {
            var content = try SubmittedContent(row)
            content.parties = parties[id] ?? []
            content.attachments = attachments[id] ?? []
            contents[id] = content
        }
        return contents
    }

    private func email(_ row: PostgresRow, _ content: SubmittedContent) throws -> PendingEmail {
        // The attribute may end within an id. An incomplete id is left out.
        let references = (try row.decodeIfPresent("answered_references", as: String.self) ?? "").split(separator: " ")
            .filter { $0.hasPrefix("<") && $0.hasSuffix(">") }.map(String.init)
        var email = PendingEmail(
            emailId: try row.decode("activityid", as: UUID.self).text, subject: content.subject ?? "",
            body: content.body ?? "", messageId: try row.decode("messageid"),
            inReplyTo: try row.decodeIfPresent("answered_id"), references: references,
            bodyType: content.mediaType,
            priority: content.priority, createdOn: ISO8601.text(try row.decode("createdon")),
            readReceiptRequested: content.wantsReceipt)
        func people(_ kind: Participation) -> [PendingEmail.Person] {
            content.parties.filter { $0.kind == kind.rawValue }.compactMap { party in
                party.address.map { .init(name: party.name ?? "", address: $0) }
            }
        }
        (email.from, email.to, email.cc, email.bcc) = (people(.sender), people(.to), people(.cc), people(.bcc))
        email.attachments = content.attachments.map { file in
            .init(
                fileName: file.name ?? "attachment", mimeType: file.mediaType ?? "application/octet-stream", body: file.body ?? "",
                contentId: file.contentID)
        }
        return email
    }
}
