public import Foundation
import JSON
import Model
import PostgresClient
import Records
import RouterProtocol
import Tenancy

/// An e-mail that a router is to send now.
public struct OutgoingEmail: Sendable {
    public let id: UUID
    public let subject: String
    public let body: String
    public let messageID: String
    public let inReplyTo: String?
    /// References of what it answers, oldest first.
    public let references: [String]
    /// `email.mimetype`.
    public let bodyType: String?
    public let priority: Int
    public let createdOn: Date
    public let wantsReceipt: Bool
    public let from: (name: String, address: String)
    public let to: [(name: String, address: String)]
    public let cc: [(name: String, address: String)]
    public let bcc: [(name: String, address: String)]
    public let attachments: [(name: String, type: String, body: String)]
}

/// How far a router got with an e-mail.
public enum SendingOutcome: String, Sendable {
    /// The mail server is ready for the bytes: from now on nobody knows before it answers.
    case handingOver = "HandingOver"
    case sent = "Sent"
    /// Refused for now; tried again later, after 1, 2, 4, 8 … minutes, an hour at most, as often as the deployment says.
    case temporary = "Temporary"
    case permanent = "Permanent"
    /// The connection broke before the server answered to the last byte.
    case unknown = "Unknown"
}

extension MailboxLeases {
    /// Takes the e-mails of a leased mailbox that are due, the most urgent first: they are *Sending* from now on.
    ///
    /// An e-mail whose submitter may not send as its sender (any more), or that is not as it was submitted, is *Failed* instead,
    /// with the reason.
    public func takePendingEmails(_ mailbox: UUID, host: String, limit: Int) async throws -> [OutgoingEmail] {
        return try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                try session.renewLease(mailbox, host, for: .taking, on: connection)
                let rows = try connection.query(taking, [.uuid(mailbox), .int64(Int64(limit))])
                var emails: [OutgoingEmail] = []
                for row in rows {
                    if let problem: String = try row.decodeIfPresent(8) {
                        try refuse(try row.decode(0), mailbox, problem, on: connection)
                    } else if try !isSubmitted(row) {
                        try failUnsubmitted(try row.decode(0), on: connection)
                        try refuse(try row.decode(0), mailbox, Self.notSubmitted, on: connection)
                    } else {
                        emails.append(try outgoing(row, on: connection))
                    }
                }
                return emails
            }
        }
    }

    /// Marks due e-mails as *Sending*, or as *Failed* where something speaks against them. $1 is the mailbox, $2 how many.
    ///
    /// UPDATE returns its rows in the order of its plan, so they are sorted again.
    private var taking: String {
        """
        WITH taken AS (
            UPDATE \(organization.qualified("email")) AS e
               SET statuscode = CASE WHEN due.problem IS NULL THEN 7 ELSE 8 END, failure = due.problem,
                   deliveryattempts = coalesce(e.deliveryattempts, 0) + (due.problem IS NULL)::integer, is_handed_over = false,
                   messageid = coalesce(e.messageid, '<' || e.activityid || '@' || due.domain || '>'),
                   message_references = CASE WHEN parent.messageid IS NULL THEN e.message_references
                      ELSE concat_ws(' ', right(parent.message_references, 30000), parent.messageid) END,
                   versionnumber = nextval('\(organization.qualified("version_number"))')
              FROM (\(due)) AS due
              LEFT JOIN LATERAL (SELECT p.messageid, p.message_references
                      FROM \(organization.qualified("email")) AS x JOIN \(organization.qualified("email")) AS p
                        ON p.activityid = x.parentactivityid WHERE x.activityid = due.activityid) AS parent ON true
             WHERE e.activityid = due.activityid
            RETURNING e.activityid, e.subject, e.description, e.messageid, parent.messageid AS answered_id, coalesce(e.prioritycode, 1),
                e.createdon, coalesce(e.readreceiptrequested, false), due.problem, parent.message_references AS answered_references,
                e.mimetype, e.submission_tag, \(Submission.columns(in: organization)),
                e.deliveryprioritycode AS taken_urgency, e.createdon AS taken_age, e.activityid AS taken_id)
        SELECT * FROM taken ORDER BY taken_urgency DESC NULLS LAST, taken_age, taken_id
        """
    }

    /// E-mails of a mailbox that are due, locked, the most urgent first and of these the oldest.
    private var due: String {
        """
        SELECT e.activityid, \(SenderRule.problem(in: organization)) AS problem,
               coalesce(nullif(regexp_replace(m.emailaddress, '^.*@', ''), ''), nullif(regexp_replace(s.address, '^.*@', ''), ''),
                   'localhost') AS domain
          FROM \(organization.qualified("email")) AS e JOIN \(organization.qualified("mailbox")) AS m ON m.mailboxid = e.sendermailboxid
          \(SenderRule.joins(in: organization))
         WHERE e.sendermailboxid = $1 AND e.statuscode = 6
           AND coalesce(e.delayedemailsendtime, '-infinity') <= now()
           AND coalesce(e.postponeemailprocessinguntil, '-infinity') <= now()
         ORDER BY e.deliveryprioritycode DESC NULLS LAST, e.createdon, e.activityid LIMIT $2 FOR UPDATE OF e SKIP LOCKED
        """
    }

    private static let notSubmitted =
        "It is not as it was submitted: it, a recipient or an attachment was changed since, or it was written past the service. Send it again."

    /// Whether the tag of an e-mail that was taken says what the e-mail says.
    private func isSubmitted(_ row: PostgresRow) throws -> Bool {
        guard !row.isNull(11) else { return false }
        return try Submission(row, at: 12).isAuthentic(
            by: row.decode(11, as: PostgresBytes.self).bytes, in: organization, under: deployment.kek)
    }

    private func failUnsubmitted(_ email: UUID, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            """
            UPDATE \(organization.qualified("email")) SET statuscode = 8, failure = $2, deliveryattempts = greatest(deliveryattempts - 1, 0)
             WHERE activityid = $1
            """, [.uuid(email), .text(Self.notSubmitted)])
    }

    /// Says that an e-mail was not handed over.
    private func refuse(_ email: UUID, _ mailbox: UUID, _ problem: String, on connection: isolated PostgresConnection) throws {
        try session.alert(
            .mailbox, mailbox, level: 3, code: AlertCode.mayNotSend, text: "An e-mail was not sent. \(problem)",
            details: "e-mail \(email.text)", on: connection)
        try session.record(
            SecurityEvent(.emailRefused, .refused, details: "e-mail \(email.text), mailbox \(mailbox.text): \(problem)"),
            on: connection)
    }

    private func outgoing(_ row: PostgresRow, on connection: isolated PostgresConnection) throws -> OutgoingEmail {
        let id: UUID = try row.decode(0)
        let parties = try connection.query(
            """
            SELECT participationtypemask, coalesce(partyidname, ''), addressused FROM \(organization.qualified("activityparty"))
             WHERE activityid = $1 AND addressused IS NOT NULL ORDER BY activitypartyid
            """, [.uuid(id)]
        ).map {
            (try $0.decode(0, as: Int.self), (name: try $0.decode(1, as: String.self), address: try $0.decode(2, as: String.self)))
        }
        func people(_ kind: Int) -> [(name: String, address: String)] { parties.filter { $0.0 == kind }.map(\.1) }
        let attachments = try connection.query(
            """
            SELECT coalesce(filename, 'attachment'), coalesce(mimetype, 'application/octet-stream'), coalesce(body, '')
              FROM \(organization.qualified("activitymimeattachment")) WHERE objectid = $1 ORDER BY attachmentnumber, activitymimeattachmentid
            """, [.uuid(id)]
        ).map {
            (
                name: try $0.decode(0, as: String.self), type: try $0.decode(1, as: String.self),
                body: try $0.decode(2, as: String.self)
            )
        }
        return OutgoingEmail(
            id: id, subject: try row.decodeIfPresent(1) ?? "", body: try row.decodeIfPresent(2) ?? "", messageID: try row.decode(3),
            inReplyTo: try row.decodeIfPresent(4),
            // What was cut in the middle is no id.
            references: (try row.decodeIfPresent(9) ?? "").split(separator: " ").filter { $0.hasPrefix("<") && $0.hasSuffix(">") }
                .map(String.init),
            bodyType: try row.decodeIfPresent(10), priority: try row.decode(5), createdOn: try row.decode(6),
            wantsReceipt: try row.decode(7),
            from: people(1).first ?? (name: "", address: ""), to: people(2), cc: people(3), bcc: people(4), attachments: attachments
        )
    }

    /// Writes down how far a router got with e-mails, all of it or nothing.
    public func reportEmails(_ reports: [SendingReport], mailbox: UUID, host: String) async throws {
        try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                // An e-mail is not handed over any more when the mailbox was disabled meanwhile.
                let handsOver = reports.contains { $0.outcome == .handingOver }
                try session.renewLease(mailbox, host, for: handsOver ? .handingOver : .reporting, on: connection)
                // What all goes well with is one round trip.
                let isPlain: Set<SendingOutcome> = [.handingOver, .sent]
                let plain = reports.filter { isPlain.contains($0.outcome) }
                for (report, result) in zip(plain, try connection.pipeline(plain.map { progress($0, mailbox) }))
                where result.isEmpty {
                    throw Self.notBeingSent(report.email)
                }
                for report in reports where !isPlain.contains(report.outcome) { try write(report, mailbox, on: connection) }
            }
        }
    }

    private static func notBeingSent(_ id: UUID) -> FieldsealError {
        FieldsealError(.concurrencyVersionMismatch, "The e-mail \(id.text) is not being sent from this mailbox.")
    }

    private func progress(_ report: SendingReport, _ mailbox: UUID) -> (sql: String, parameters: [PostgresParameter]) {
        (
            """
            UPDATE \(organization.qualified("email")) SET statuscode = CASE WHEN $3 THEN 7 ELSE 3 END, is_handed_over = $3, failure = NULL,
                   senton = CASE WHEN $3 THEN senton ELSE now() END, actualend = CASE WHEN $3 THEN actualend ELSE now() END,
                   versionnumber = nextval('\(organization.qualified("version_number"))')
             WHERE activityid = $1 AND sendermailboxid = $2 AND statuscode = 7 RETURNING 1
            """, [.uuid(report.email), .uuid(mailbox), .bool(report.outcome == .handingOver)]
        )
    }

    private func write(_ report: SendingReport, _ mailbox: UUID, on connection: isolated PostgresConnection) throws {
        let (id, outcome) = (report.email, report.outcome)
        let rows = try connection.query(
            """
            SELECT coalesce(deliveryattempts, 0) FROM \(organization.qualified("email"))
             WHERE activityid = $1 AND sendermailboxid = $2 AND statuscode = 7 FOR UPDATE
            """, [.uuid(id), .uuid(mailbox)])
        guard let attempts = try rows.first?.decode(0, as: Int.self) else {
            throw Self.notBeingSent(id)
        }
        let isExhausted = outcome == .temporary && attempts >= mail.sendingAttempts
        let status: Int32 =
            switch outcome {
            case .temporary where !isExhausted: 6
            default: 8
            }
        let text = outcome == .unknown ? "\(Self.nobodyKnows) (\(report.reason))" : report.reason
        _ = try connection.query(
            """
            UPDATE \(organization.qualified("email")) SET statuscode = $2, is_handed_over = false, failure = left($3, 4000),
                   postponeemailprocessinguntil = CASE WHEN $2 = 6 THEN now() + $4 * interval '1 second' END,
                   versionnumber = nextval('\(organization.qualified("version_number"))')
             WHERE activityid = $1
            """,
            [
                .uuid(id), .int32(status), .text(text),
                .double(Double(min(3_600, 60 << min(attempts - 1, 6)))),
            ])
        try session.alert(
            .mailbox, mailbox, level: status == 8 ? 3 : 2, code: isExhausted ? AlertCode.attemptsExhausted : report.code,
            text: status == 8
                ? "An e-mail was not sent. \(text)" : "An e-mail was refused for now, and will be tried again. \(text)",
            details: "e-mail \(id.text), attempt \(attempts)", on: connection)
    }
}

/// How far a router got with one e-mail.
public struct SendingReport: Sendable {
    public let email: UUID
    public let outcome: SendingOutcome
    /// The mail server's words.
    public let reason: String
    /// What an alert about it is filed under.
    public let code: Int

    public init(email: UUID, outcome: SendingOutcome, reason: String, code: Int) {
        (self.email, self.outcome, self.reason, self.code) = (email, outcome, reason, code)
    }
}
