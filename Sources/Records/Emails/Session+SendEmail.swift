package import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

extension Session {
    /// Submits an e-mail: it is *Pending Send* until a router fetches it to send it.
    ///
    /// - Parameters:
    ///   - issue: Whether to send the e-mail. If false, the service only records that the e-mail was sent by other means.
    ///   - token: The tracking token. Nil keeps the token that the e-mail has, or makes one if it has none. An empty text means no
    ///     token.
    /// - Returns: The subject with the token.
    func sendEmail(_ id: UUID, issue: Bool, token: String?, on connection: isolated PostgresConnection) throws -> String {
        let depth = try require(.update, on: .email)
        return try connection.atomically {
            let row = try draft(id, depth, on: connection)
            try requireSendable(row)
            if issue { try requireActiveSender(row) }
            let (subject, mark) = try subject(row, token: token, on: connection)
            // The sender's party gets the current address, which the message's From header will have.
            _ = try connection.query(
                """
                UPDATE \(organization.qualified("activityparty")) SET addressused = $2 WHERE activityid = $1 AND participationtypemask = \(Participation.sender.sql)
                """, [.uuid(id), .text(try row.decodeIfPresent("address"))])
            let submitted = try connection.query(
                """
                UPDATE \(organization.qualified("email")) AS e SET statuscode = $2, subject = $3, trackingtoken = left($4, 50), deliveryattempts = 0,
                       is_handed_over = false, failure = NULL, postponeemailprocessinguntil = NULL, submittedby = left($5, 250),
                       submitter = $6, submitter_is_administrator = $7, sender = $8, sendermailboxid = $9, sendermailboxidname = $10,
                       submission_tag = NULL,
                       senton = CASE WHEN $2 = \(EmailStatus.sent.sql) THEN now() ELSE senton END,
                       modifiedon = now(), versionnumber = nextval('\(organization.qualified("version_number"))')
                 WHERE activityid = $1 RETURNING \(Submission.columns(in: organization))
                """,
                [
                    .uuid(id), .int32(Int32((issue ? EmailStatus.pendingSend : .sent).rawValue)), .text(subject), .text(mark),
                    .text(caller.actor),
                    .uuid(caller.systemUserID),
                    .bool(caller.role == .systemAdministrator), .text(try row.decodeIfPresent("address")),
                    .uuid(try row.decodeIfPresent("sender_mailbox", as: UUID.self)),
                    .text(try row.decodeIfPresent("sender_mailbox_name")),
                ])
            if issue {
                try Submission(submitted[0], at: 0).store(in: organization, under: kek, on: connection)
            }
            return subject
        }
    }

    /// Reads and locks an e-mail that the caller may write, with the data that decides whether it can be sent.
    private func draft(_ id: UUID, _ depth: PrivilegeDepth, on connection: isolated PostgresConnection) throws -> PostgresRow {
        var statement = StatementBuilder(organization, caller)
        var condition = "e.activityid = \(statement.bind(.uuid(id)))"
        if let rule = AccessRule(.email, organization, caller).condition(depth, .write, "e", bind: { statement.bind($0) }) {
            condition += " AND \(rule)"
        }
        let user = statement.bind(.uuid(caller.systemUserID))
        let parties = organization.qualified("activityparty")
        let rows = try connection.query(
            """
            SELECT e.statuscode, e.directioncode, e.subject, e.trackingtoken, s.count AS senders, \(SenderRule.address) AS address,
                   \(SenderRule.allows(user, in: organization)) AS is_allowed, r.*,
                   coalesce(su.isdisabled, false) AS is_disabled, coalesce(\(SenderRule.isInactiveQueue), false) AS is_inactive,
                   sm.mailboxid AS sender_mailbox, left(sm.name, 100) AS sender_mailbox_name, sm.emailaddress AS mailbox_address
              FROM \(organization.qualified("email")) AS e
              \(SenderRule.joins(in: organization))
              LEFT JOIN LATERAL (
                  SELECT m.mailboxid, m.name, m.emailaddress FROM \(organization.qualified("mailbox")) AS m
                   WHERE m.regardingobjectid = s.partyid AND m.statecode = \(RecordState.active.sql)
                   ORDER BY (m.mailboxid = e.sendermailboxid) IS NOT TRUE, m.createdon LIMIT 1) AS sm ON true
              LEFT JOIN LATERAL (
                  SELECT count(addressused) AS recipients, count(*) - count(addressused) AS recipients_without,
                         (json_agg(DISTINCT addressused) FILTER (WHERE partyid IS NOT NULL AND addressused IS NOT NULL))::text AS addresses_of_records
                    FROM \(parties) WHERE activityid = e.activityid AND participationtypemask IN \(Participation.recipients.sql)) AS r ON true
             WHERE \(condition) FOR UPDATE OF e
            """, statement.parameters)
        guard let row = rows.first else {
            try refuseReadable(.email, id, without: .write, on: connection)
            throw FieldsealError.noSuchRecord(.email, id.text)
        }
        return row
    }

    /// The users and queues that have mailboxes, and as which the caller may send.
    ///
    /// - Returns: Nil if the caller may send as all of them.
    package func permittedSenders() async throws -> [UUID]? {
        guard caller.role != .systemAdministrator else { return nil }
        let sql = """
            SELECT s.partyid FROM (SELECT DISTINCT regardingobjectid AS partyid, regardingobjecttypecode AS type
                                     FROM \(organization.qualified("mailbox")) WHERE regardingobjectid IS NOT NULL) AS s
              \(SenderRule.records(in: organization, type: "s.type"))
             WHERE \(SenderRule.allows("$1", in: organization)) LIMIT \(Self.senderLimit)
            """
        let user = caller.systemUserID
        return try await deployment.pool.withConnection { connection -> [UUID] in
            try connection.query(sql, [.uuid(user)]).map { try $0.decode(0) }
        }
    }

    /// The largest number of users and queues in the result of ``permittedSenders()``.
    private static let senderLimit = 1_000

    private func requireSendable(_ row: PostgresRow) throws {
        func refuse(_ why: String) -> FieldsealError { FieldsealError(.invalidArgument, why) }
        let status = EmailStatus(rawValue: Int64(try row.decodeIfPresent("statuscode", as: Int.self) ?? 0))
        guard let status, EmailStatus.editable.contains(status),
            try row.decodeIfPresent("directioncode", as: Bool.self) ?? false
        else {
            throw refuse("Only an outgoing e-mail that is a draft, or failed, can be sent.")
        }
        guard try row.decode("senders", as: Int.self) == 1, let address: String = try row.decodeIfPresent("address"),
            EmailAddressRule.isOne(address)
        else {
            throw refuse(
                "The e-mail has no sender: it takes one party with participationtypemask 1 that is a systemuser or a queue with an "
                    + "e-mail address.")
        }
        guard try row.decode("recipients", as: Int.self) > 0, try row.decode("recipients_without", as: Int.self) == 0 else {
            throw refuse("The e-mail has no recipient, or one without an e-mail address.")
        }
        guard try haveRecordsAddresses(row) else {
            throw refuse(
                "A recipient of the e-mail is a systemuser or a queue whose e-mail address is not one that mail can be sent to. Correct "
                    + "it, set the recipients of the e-mail again, and send it again.")
        }
        guard try caller.role == .systemAdministrator || row.decode("is_allowed") else {
            throw FieldsealError(
                .privilegeDenied,
                "The caller may not send as this sender: a user's settings do not allow it (usersettings.issendasallowed), or the "
                    + "caller neither owns the queue nor is in the team that does.")
        }
        guard try row.decodeIfPresent("sender_mailbox", as: UUID.self) != nil else {
            throw refuse("The sender has no mailbox to send from.")
        }
        guard let mailbox: String = try row.decodeIfPresent("mailbox_address"), EmailAddressRule.isOne(mailbox) else {
            throw refuse("The sender's mailbox has no e-mail address. Set its emailaddress, and send again.")
        }
    }

    /// Whether the recipients that are users and queues have addresses. Addresses of other recipients were checked when they were
    /// written.
    private func haveRecordsAddresses(_ row: PostgresRow) throws -> Bool {
        guard let text: String = try row.decodeIfPresent("addresses_of_records") else { return true }
        guard case .array(let addresses) = try JSONParser.parse(Array(text.utf8)) else { return false }
        return addresses.allSatisfy { $0.string.map(EmailAddressRule.isOne) ?? false }
    }

    /// Refuses to send as a disabled user or as an inactive queue. Recording that an e-mail was sent by other means is still
    /// allowed.
    private func requireActiveSender(_ row: PostgresRow) throws {
        guard try !row.decode("is_disabled") else {
            throw FieldsealError(
                .invalidArgument,
                "The sender is a disabled user (systemuser.isdisabled). Enable the user, or choose another sender.")
        }
        guard try !row.decode("is_inactive") else {
            throw FieldsealError(
                .invalidArgument, "The sender is an inactive queue (queue.statecode). Activate the queue, or choose another sender."
            )
        }
    }

    /// The subject with its tracking token at the end, and the token. The token replaces tokens of earlier e-mails at the end of
    /// the subject.
    ///
    /// - Throws: ``FieldsealError`` `.stringLengthTooLong` for a subject that leaves no room for the token.
    private func subject(_ row: PostgresRow, token: String?, on connection: isolated PostgresConnection) throws
        -> (subject: String, mark: String?)
    {
        let subject: String = try row.decodeIfPresent("subject") ?? ""
        let stored: String? = try row.decodeIfPresent("trackingtoken")
        guard token != "" else {
            guard let stored, !stored.isEmpty, subject.hasSuffix(stored) else { return (subject, nil) }
            return (subject.dropLast(stored.count).trimmingCharacters(in: .whitespaces), nil)
        }
        let kept = stored.flatMap { $0.isEmpty || !TrackingToken.isUsable($0) ? nil : $0 }
        let mark = try token ?? kept ?? newToken(on: connection)
        let words = TrackingToken.removed(from: subject)
        let marked = words.isEmpty ? mark : "\(words) \(mark)"
        let limit = EntityDefinition.emailSubjectUnits
        guard marked.utf16.count <= limit else {
            throw FieldsealError(
                .stringLengthTooLong,
                "The subject leaves no room for the tracking token: it takes \(limit - mark.utf16.count - 1) characters. Shorten it, or "
                    + "send with an empty TrackingToken.")
        }
        return (marked, mark)
    }

    /// The sequence's number makes the token unique. The token's last six digits are random, so that it can't be guessed from the
    /// tokens of other e-mails.
    private func newToken(on connection: isolated PostgresConnection) throws -> String {
        try connection.query(
            "SELECT 'CRM:' || lpad(nextval($1::text::regclass)::text, 7, '0') || lpad($2::text, 6, '0')",
            [.text(organization.qualified("tracking_number")), .text("\(Int.random(in: 0..<1_000_000))")])[0].decode(0)
    }
}
