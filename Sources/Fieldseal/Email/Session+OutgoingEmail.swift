public import Foundation
import PostgresClient

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

extension Session {
    /// Has an e-mail sent: it is *Pending Send* until a router takes it.
    ///
    /// - Parameters:
    ///   - issue: False to only say that it was sent by other means.
    ///   - token: The tracking token; nil to make one, empty for none.
    /// - Returns: The subject, with the token.
    public func sendEmail(_ id: UUID, issue: Bool, token: String?) async throws -> String {
        let depth = try require(.update, on: .email)
        return try await deployment.pool.withConnection { connection in
            try connection.transaction {
                try confirm(on: connection)
                var statement = StatementBuilder(organization, caller)
                var condition = "e.activityid = \(statement.bind(.uuid(id)))"
                if let rule = AccessRule(.email, organization, caller).condition(depth, .write, "e", bind: { statement.bind($0) }) {
                    condition += " AND \(rule)"
                }
                let rows = try connection.query(
                    """
                    SELECT e.statuscode, e.directioncode, e.subject, e.trackingtoken, e.sendermailboxid, s.partyid, s.partyobjecttypecode,
                           s.addressused, (SELECT count(*) FROM \(organization.qualified("activityparty")) AS r WHERE r.activityid = e.activityid
                             AND r.participationtypemask IN (2, 3, 4) AND r.addressused IS NOT NULL),
                           (SELECT count(*) FROM \(organization.qualified("activityparty")) AS r WHERE r.activityid = e.activityid
                             AND r.participationtypemask IN (2, 3, 4) AND r.addressused IS NULL),
                           coalesce(u.issendasallowed, false), m.emailaddress
                      FROM \(organization.qualified("email")) AS e
                      LEFT JOIN \(organization.qualified("activityparty")) AS s ON s.activityid = e.activityid AND s.participationtypemask = 1
                      LEFT JOIN \(organization.qualified("usersettings")) AS u ON u.systemuserid = s.partyid
                      LEFT JOIN \(organization.qualified("mailbox")) AS m ON m.mailboxid = e.sendermailboxid
                     WHERE \(condition) LIMIT 1 FOR UPDATE OF e
                    """, statement.parameters)
                guard let row = rows.first else { throw FieldsealError.noSuchRecord(.email, id.text) }
                func refuse(_ why: String) -> FieldsealError { FieldsealError(.invalidArgument, why) }
                guard [1, 8].contains(try row.decodeIfPresent(0, as: Int.self) ?? 0),
                    try row.decodeIfPresent(1, as: Bool.self) ?? false
                else {
                    throw refuse("Only an outgoing e-mail that is a draft, or failed, can be sent.")
                }
                guard !row.isNull(5), !row.isNull(7) else {
                    throw refuse(
                        "The e-mail is from nobody: it takes a party with participationtypemask 1 that is a systemuser or a queue with an e-mail address."
                    )
                }
                guard try row.decode(8, as: Int.self) > 0, try row.decode(9, as: Int.self) == 0 else {
                    throw refuse("The e-mail is to nobody, or to somebody without an e-mail address.")
                }
                guard !row.isNull(4) else { throw refuse("The sender has no mailbox to send from.") }
                guard let address: String = try row.decodeIfPresent(7), MailAddress.isOne(address),
                    let box: String = try row.decodeIfPresent(11),
                    MailAddress.isOne(box)
                else {
                    throw refuse(
                        "The sender, or the mailbox that it is sent from, has no e-mail address. Set the mailbox's emailaddress, and send again."
                    )
                }
                let isUser = try row.decodeIfPresent(6, as: String.self) == "systemuser"
                let isSelf = try row.decode(5, as: UUID.self) == caller.systemUserID
                let letsOthersSend: Bool = try row.decode(10)
                guard !isUser || isSelf || caller.role == .systemAdministrator || letsOthersSend else {
                    throw FieldsealError(
                        .privilegeDenied, "This user does not let others send in his name (usersettings.issendasallowed).")
                }
                var subject: String = try row.decodeIfPresent(2) ?? ""
                var mark: String? = try row.decodeIfPresent(3)
                if mark == nil, token != "" {
                    mark =
                        try token
                        ?? connection.query(
                            "SELECT 'CRM:' || lpad(nextval($1::text::regclass)::text, 7, '0')",
                            [.text(organization.qualified("tracking_number"))])[
                            0
                        ].decode(0)
                    subject = Self.cut(subject, 200 - (mark?.utf16.count ?? 0) - 1) + " \(mark ?? "")"
                }
                _ = try connection.query(
                    """
                    UPDATE \(organization.qualified("email")) SET statuscode = $2, subject = $3, trackingtoken = left($4, 50), deliveryattempts = 0,
                           is_handed_over = false, failure = NULL, postponeemailprocessinguntil = NULL, submittedby = left($5, 250),
                           senton = CASE WHEN $2 = 3 THEN now() ELSE senton END,
                           modifiedon = now(), versionnumber = nextval('\(organization.qualified("version_number"))')
                     WHERE activityid = $1
                    """, [.uuid(id), .int32(issue ? 6 : 3), .text(subject), .text(mark), .text(caller.actor)])
                return subject
            }
        }
    }

    /// Takes the e-mails of a leased mailbox that are due, the most urgent first: they are *Sending* from now on.
    public func takePendingEmails(_ mailbox: UUID, host: String, limit: Int) async throws -> [OutgoingEmail] {
        try requireRouter()
        return try await deployment.pool.withConnection { connection in
            try planned(on: connection) {
                try renewLease(mailbox, host, on: connection)
                let rows = try connection.query(
                    """
                    UPDATE \(organization.qualified("email")) AS e
                       SET statuscode = 7, deliveryattempts = coalesce(e.deliveryattempts, 0) + 1, is_handed_over = false,
                           messageid = coalesce(e.messageid, '<' || e.activityid || '@' || coalesce(due.domain, 'localhost') || '>'),
                           message_references = CASE WHEN parent.messageid IS NULL THEN e.message_references
                               ELSE concat_ws(' ', right(parent.message_references, 30000), parent.messageid) END,
                           versionnumber = nextval('\(organization.qualified("version_number"))')
                      FROM (SELECT e.activityid, nullif(regexp_replace(m.emailaddress, '^.*@', ''), '') AS domain, e.deliveryprioritycode, e.createdon
                              FROM \(organization.qualified("email")) AS e JOIN \(organization.qualified("mailbox")) AS m ON m.mailboxid = e.sendermailboxid
                             WHERE e.sendermailboxid = $1 AND e.statuscode = 6
                               AND coalesce(e.delayedemailsendtime, '-infinity') <= now()
                               AND coalesce(e.postponeemailprocessinguntil, '-infinity') <= now()
                             ORDER BY e.deliveryprioritycode DESC NULLS LAST, e.createdon LIMIT $2 FOR UPDATE OF e SKIP LOCKED) AS due
                      LEFT JOIN LATERAL (SELECT p.messageid, p.message_references FROM \(organization.qualified("email")) AS x JOIN \(organization.qualified("email")) AS p
                             ON p.activityid = x.parentactivityid WHERE x.activityid = due.activityid) AS parent ON true
                     WHERE e.activityid = due.activityid
                    RETURNING e.activityid, e.subject, e.description, e.messageid, parent.messageid, coalesce(e.prioritycode, 1), e.createdon,
                        coalesce(e.readreceiptrequested, false), parent.message_references, e.mimetype
                    """, [.uuid(mailbox), .int64(Int64(limit))])
                return try rows.map { row in try outgoing(row, on: connection) }
            }
        }
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
            references: (try row.decodeIfPresent(8) ?? "").split(separator: " ").filter { $0.hasPrefix("<") && $0.hasSuffix(">") }
                .map(String.init),
            bodyType: try row.decodeIfPresent(9), priority: try row.decode(5), createdOn: try row.decode(6),
            wantsReceipt: try row.decode(7),
            from: people(1).first ?? (name: "", address: ""), to: people(2), cc: people(3), bcc: people(4), attachments: attachments
        )
    }

    /// Writes down how far a router got with e-mails, all of it or nothing.
    public func reportEmails(_ reports: [SendingReport], mailbox: UUID, host: String) async throws {
        try requireRouter()
        try await deployment.pool.withConnection { connection in
            try planned(on: connection) {
                try renewLease(mailbox, host, on: connection)
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
        let isExhausted = outcome == .temporary && attempts >= deployment.sendingAttempts
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
        try alert(
            .mailbox, mailbox, level: status == 8 ? 3 : 2, code: isExhausted ? RouterCode.attemptsExhausted : report.code,
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
