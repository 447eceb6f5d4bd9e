public import Foundation
public import Model
import PostgresClient
import Records
public import Tenancy

/// E-mails that came in, and become records: for an Email Router or a System Administrator.
public struct EmailDelivery: Sendable {
    let session: Session

    private var organization: Organization { session.organization }
    private var caller: Caller { session.caller }
    private var deployment: Deployment { session.deployment }

    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role.
    public init(_ session: Session) throws(FieldsealError) {
        guard !session.caller.roles.isDisjoint(with: RoleSet([.emailRouter, .systemAdministrator])) else {
            throw FieldsealError(
                .privilegeDenied,
                "Only an Email Router or a System Administrator may deliver e-mails, and the caller's role is "
                    + "\(session.caller.role.rawValue).")
        }
        self.session = session
    }

    /// Says whether an e-mail would become a record, and why.
    ///
    /// - Parameter mailbox: The mailbox that it came to; nil to ask for whom it is addressed to alone.
    public func checkIncomingEmail(_ email: IncomingEmail, mailbox: UUID?) async throws -> IncomingVerdict {
        return try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                let facts = try connection.pipeline([facts(email, mailbox)])[0]
                return try verdict(on: email, facts, place(of: mailbox, on: connection), on: connection)
            }
        }
    }

    /// What came of an e-mail: the id of its record, if there is one, and why.
    public typealias Delivery = (id: UUID?, verdict: IncomingVerdict)

    /// Makes a record of an e-mail, once: the second time it is a duplicate, and nothing changes.
    ///
    /// - Parameters:
    ///   - mailbox: The mailbox that it came to.
    ///   - host: The lease of the router; nil for an administrator, who needs none.
    /// - Returns: The record's id, and the verdict.
    public func deliverIncomingEmail(_ email: IncomingEmail, mailbox: UUID?, host: String?) async throws -> Delivery {
        try await deliverIncomingEmails([email], mailbox: mailbox, host: host)[0]
    }

    /// The same for several e-mails of one mailbox, in one transaction: all of them are looked at, or none.
    public func deliverIncomingEmails(_ emails: [IncomingEmail], mailbox: UUID?, host: String?) async throws -> [Delivery] {
        return try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                if caller.role != .systemAdministrator {
                    guard let mailbox, let host else {
                        throw FieldsealError(
                            .payloadDoesNotFit, "A router delivers to a mailbox that it has leased: MailboxId and HostId.")
                    }
                    try session.renewLease(mailbox, host, for: .delivering, on: connection)
                }
                let place = try place(of: mailbox, on: connection)
                var batch = IncomingBatch(self, mailbox, place)
                return try batch.deliver(emails, on: connection)
            }
        }
    }

    /// Whose an e-mail of a mailbox is, and what the organization decided about e-mail.
    struct Place {
        let owner: UUID
        let ownerType: String?
        let unit: UUID
        /// Whether In-Reply-To and References tell what is answered; and whether subject and people do.
        let correlatesHeaders: Bool
        let matchesSubjects: Bool
        /// Bytes of an attachment that is kept.
        let attachmentLimit: Int
    }

    private func place(of mailbox: UUID?, on connection: isolated PostgresConnection) throws -> Place {
        let row = try connection.query(
            """
            SELECT m.ownerid, m.owneridtype, m.owningbusinessunit, coalesce(o.emailcorrelationenabled, true),
                   coalesce(o.enablesmartmatching, false), coalesce(o.maxuploadfilesize, 5242880)
              FROM \(organization.qualified("organization")) AS o
              LEFT JOIN \(organization.qualified("mailbox")) AS m ON m.mailboxid = $1 LIMIT 1
            """, [.uuid(mailbox)]
        )[0]
        guard let owner = try row.decodeIfPresent(0, as: UUID.self) ?? caller.systemUserID,
            let unit = try row.decodeIfPresent(2, as: UUID.self) ?? session.callersUnit
        else { throw FieldsealError(.unexpected, "The mailbox has no owner.") }
        return Place(
            owner: owner, ownerType: try row.decodeIfPresent(1), unit: unit, correlatesHeaders: try row.decode(3),
            matchesSubjects: try row.decode(4), attachmentLimit: try row.decode(5))
    }

    // MARK: Whether

    /// Asks whether it was delivered before, whether the mailbox sent it, and for the filters of those to whom it is.
    func facts(_ email: IncomingEmail, _ mailbox: UUID?) -> (sql: String, parameters: [PostgresParameter]) {
        let id = email.recordID(organization: organization.id, mailbox: mailbox ?? organization.id)
        let addresses = (email.to + email.cc + email.bcc).flatMap(MailAddress.forms)
        return (
            """
            SELECT EXISTS (SELECT FROM \(organization.qualified("email")) WHERE activityid = $1),
                   EXISTS (SELECT FROM \(organization.qualified("email")) AS e JOIN \(organization.qualified("mailbox")) AS m ON m.mailboxid = $2
                     WHERE e.directioncode AND lower(e.messageid) = lower($3) AND $3 <> '' AND lower(m.emailaddress) = ANY ($4)),
                   \(recipientFilters)
            """, [.uuid(id), .uuid(mailbox), .text(email.messageID), .texts(MailAddress.forms(email.from)), .texts(addresses)]
        )
    }

    /// Decides about an e-mail.
    ///
    /// - Parameter answer: What came back for ``facts(_:_:)``.
    func verdict(
        on email: IncomingEmail, _ answer: PostgresResult, _ place: Place, on connection: isolated PostgresConnection
    ) throws -> IncomingVerdict {
        func no(_ reason: IncomingVerdict.Reason) -> IncomingVerdict { IncomingVerdict(isDelivered: false, reason: reason) }
        guard MailAddress.isSender(email.from) else { return no(.badSender) }
        let facts = answer[0]
        if try facts.decode(0, as: Bool.self) { return no(.duplicate) }
        // What this mailbox sent comes back to it as a copy of its own.
        if try facts.decode(1, as: Bool.self) { return no(.ownMessage) }
        let recipients: String = try facts.decodeIfPresent(2) ?? ""
        guard !recipients.isEmpty else { return no(.noRecipient) }
        let (parent, correlation, hasToken) = try correlate(email, place, on: connection)
        func yes(_ reason: IncomingVerdict.Reason) -> IncomingVerdict {
            IncomingVerdict(isDelivered: true, reason: reason, parent: parent, correlation: correlation)
        }
        if parent != nil { return yes(correlation == .trackingToken ? .tokenMatched : .senderAccepted) }
        if recipients.contains("0") { return yes(.recipientAcceptsAll) }
        if recipients.contains("3"), try isKnown(email.from, on: connection) { return yes(.senderAccepted) }
        return no(hasToken ? .tokenUnmatched : .unknown)
    }

    /// The filters of those to whom it is, as digits: 0 all, 1 replies, 2 and 3 known senders. $2 is the mailbox, $5 the addresses.
    private var recipientFilters: String {
        """
        (SELECT string_agg(filter::text, '') FROM (
            SELECT coalesce(s.incomingemailfilteringmethod, 1) AS filter FROM \(organization.qualified("systemuser")) AS u
              JOIN \(organization.qualified("usersettings")) AS s USING (systemuserid)
             WHERE NOT coalesce(u.isdisabled, false) AND (lower(u.internalemailaddress) = ANY ($5) OR u.systemuserid = (
                SELECT regardingobjectid FROM \(organization.qualified("mailbox")) WHERE mailboxid = $2 AND regardingobjecttypecode = 'systemuser'))
            UNION ALL
            SELECT coalesce(q.incomingemailfilteringmethod, 0) FROM \(organization.qualified("queue")) AS q
             WHERE q.statecode = 0 AND (lower(q.emailaddress) = ANY ($5) OR q.queueid = (
                SELECT regardingobjectid FROM \(organization.qualified("mailbox")) WHERE mailboxid = $2 AND regardingobjecttypecode = 'queue'))
            UNION ALL
            SELECT 0 FROM \(organization.qualified("mailbox")) WHERE mailboxid = $2 AND regardingobjectid IS NULL AND NOT coalesce(isforwardmailbox, false)
        ) AS filters)
        """
    }

    private func isKnown(_ address: String, on connection: isolated PostgresConnection) throws -> Bool {
        try connection.query(
            """
            SELECT EXISTS (SELECT FROM \(organization.qualified("systemuser")) WHERE lower(internalemailaddress) = ANY ($1))
                OR EXISTS (SELECT FROM \(organization.qualified("queue")) WHERE lower(emailaddress) = ANY ($1))
            """, [.texts(MailAddress.forms(address))])[0].decode(0)
    }

    /// Finds what it answers: by In-Reply-To and References, then by the tracking token in the subject, then by what subject and people
    /// have in common, if the organization has that on.
    private func correlate(_ email: IncomingEmail, _ place: Place, on connection: isolated PostgresConnection) throws -> (
        UUID?, IncomingVerdict.Correlation, hasToken: Bool
    ) {
        let token = email.trackingToken
        let ids = email.inReplyTo.prefix(100).map { $0.lowercased() }
        if place.correlatesHeaders, !ids.isEmpty {
            let rows = try connection.query(
                """
                SELECT activityid FROM \(organization.qualified("email")) WHERE messageid IS NOT NULL AND lower(messageid) = ANY ($1)
                 ORDER BY array_position($1, lower(messageid)), createdon LIMIT 1
                """, [.texts(Array(ids))])
            if let row = rows.first { return (try row.decode(0), .inReplyTo, token != nil) }
        }
        if let token {
            let rows = try connection.query(
                "SELECT activityid FROM \(organization.qualified("email")) WHERE trackingtoken = $1 ORDER BY createdon DESC LIMIT 1",
                [.text(token)])
            if let row = rows.first { return (try row.decode(0), .trackingToken, true) }
        }
        guard place.matchesSubjects, let parent = try smartMatch(email, on: connection) else { return (nil, .none, token != nil) }
        return (parent, .smartMatching, token != nil)
    }

    /// The newest e-mail of the last 90 days with the same subject, but for what programs put before it, and at least two people of this one.
    private func smartMatch(_ email: IncomingEmail, on connection: isolated PostgresConnection) throws -> UUID? {
        let people = ([email.from] + email.to + email.cc).flatMap(MailAddress.forms)
        let key = organization.qualified("subject_key")
        return try connection.query(
            """
            SELECT e.activityid FROM \(organization.qualified("email")) AS e
             WHERE \(key)(e.subject) = \(key)($1) AND e.createdon > now() - interval '90 days' AND \(key)($1) <> md5('')
               AND (SELECT count(DISTINCT lower(p.addressused)) FROM \(organization.qualified("activityparty")) AS p
                     WHERE p.activityid = e.activityid AND lower(p.addressused) = ANY ($2)) >= 2
             ORDER BY e.createdon DESC LIMIT 1
            """, [.text(email.subject.cut(to: 200)), .texts(people)]
        ).first?.decode(0)
    }

    // MARK: The record

    /// What makes a record of an e-mail, in one round trip. The first statement returns no row when the record was there.
    ///
    /// The e-mail that it answers counts it at once.
    func insertion(
        _ email: IncomingEmail,
        _ id: UUID,
        _ mailbox: UUID?,
        _ place: Place,
        _ verdict: IncomingVerdict,
        on connection: isolated PostgresConnection
    ) throws -> [(sql: String, parameters: [PostgresParameter])] {
        let kept = email.attachments.prefix(EmailParts.limit).filter {
            $0.note != nil || $0.body.utf8.count / 4 * 3 <= place.attachmentLimit
        }
        let bodyLimit = 10 << 20
        let body =
            email.body.utf8.count <= bodyLimit ? email.body : String(decoding: email.body.utf8.prefix(bodyLimit), as: UTF8.self)
        var values: [String: AttributeValue] = [
            "subject": .text(email.subject.cut(to: 200)), "description": .text(body.withoutNull),
            "mimetype": .text(email.bodyType),
            "directioncode": .bool(false), "statuscode": .int(4), "statecode": .int(1),
            "messageid": .text(email.messageID.cut(to: 320)),
            "correlationmethod": .int(Int64(verdict.correlation.rawValue)), "ownerid": .id(place.owner),
            "prioritycode": .int(Int64(email.importance)),
            "notifications": .int(
                kept.count < email.attachments.count + email.omittedAttachments
                    ? 1 : email.bodyIsCut || body.utf8.count < email.body.utf8.count ? 2 : 0),
            "sender": .text(email.from),
        ]
        if let type = place.ownerType { values["owneridtype"] = .text(type) }
        if let reply = email.inReplyTo.first { values["inreplyto"] = .text(reply.cut(to: 320)) }
        if let date = email.receivedOn { values["senton"] = .date(date) }
        if let mailbox { values["receivingmailboxid"] = .id(mailbox) }
        if let token = email.trackingToken { values["trackingtoken"] = .text(token) }
        if let parent = verdict.parent {
            values["parentactivityid"] = .id(parent)
            let row = try connection.query(
                """
                UPDATE \(organization.qualified("email")) SET replycount = coalesce(replycount, 0) + 1,
                       versionnumber = nextval('\(organization.qualified("version_number").replacing("'", with: "''"))')
                 WHERE activityid = $1
                RETURNING regardingobjectid, regardingobjecttypecode
                """, [.uuid(parent)]
            ).first
            if let regarding: UUID = try row?.decodeIfPresent(0) { values["regardingobjectid"] = .id(regarding) }
            if let type: String = try row?.decodeIfPresent(1) { values["regardingobjecttypecode"] = .text(type) }
        }
        let draft = RecordDraft(
            .email, id: id, values,
            origin: .init(
                organization: organization, user: caller.systemUserID ?? place.owner, businessUnit: place.unit,
                delegate: caller.impersonation?.systemUserID))
        let (sql, parameters) = draft.statement(in: organization)
        var parts = EmailParts()
        parts.attachments = kept.map { attachment in
            EmailParts.Attachment(
                name: attachment.name.cut(to: 255), type: attachment.type.cut(to: 256), body: attachment.body,
                size: attachment.body.utf8.count / 4 * 3, subject: attachment.note?.cut(to: 2_000))
        }
        // An upsert that forbids update: an earlier writer wrote the same.
        let insertion = sql.replacing(
            " RETURNING versionnumber", with: " ON CONFLICT (activityid) DO NOTHING RETURNING versionnumber")
        return [(insertion, parameters)] + partyStatements(of: email, id) + parts.statements(of: id, in: organization)
    }

    /// Whom it is from and to, with the users and queues that have these addresses.
    private func partyStatements(of email: IncomingEmail, _ id: UUID) -> [(sql: String, parameters: [PostgresParameter])] {
        let recipients = [(2, email.to), (3, email.cc), (4, email.bcc)]
            .flatMap { kind, addresses in addresses.filter(MailAddress.isOne).map { (kind, $0) } }
        // A sender without an address is a party too: its words are all that says who it is.
        let parties = ([(1, email.from)] + recipients).prefix(EmailParts.limit)
        return [
            (
                """
                INSERT INTO \(organization.qualified("activityparty")) (activitypartyid, activityid, participationtypemask, ispartydeleted, donotemail,
                    partyid, partyobjecttypecode, partyidname, addressused)
                SELECT gen_random_uuid(), $1, p.kind::integer, false, false, coalesce(u.systemuserid, q.queueid),
                       CASE WHEN u.systemuserid IS NOT NULL THEN 'systemuser' WHEN q.queueid IS NOT NULL THEN 'queue' END,
                       coalesce(u.fullname, q.name, p.address), p.address
                  FROM unnest($2, $3, $4) AS p (kind, address, other)
                  LEFT JOIN LATERAL (SELECT systemuserid, fullname FROM \(organization.qualified("systemuser"))
                        WHERE lower(internalemailaddress) IN (lower(p.address), p.other) ORDER BY createdon LIMIT 1) AS u ON true
                  LEFT JOIN LATERAL (SELECT queueid, name FROM \(organization.qualified("queue"))
                        WHERE lower(emailaddress) IN (lower(p.address), p.other) ORDER BY createdon LIMIT 1) AS q ON u.systemuserid IS NULL
                 WHERE NOT EXISTS (SELECT FROM \(organization.qualified("activityparty")) WHERE activityid = $1)
                """,
                [
                    .uuid(id), .texts(parties.map { "\($0.0)" }), .texts(parties.map(\.1)),
                    .texts(parties.map { MailAddress.forms($0.1).last ?? "" }),
                ]
            ),
            (
                """
                UPDATE \(organization.qualified("email")) AS e SET emailsender = s.partyid, emailsenderobjecttypecode = s.partyobjecttypecode,
                       emailsendername = coalesce(s.partyidname, $4), torecipients = $2, message_references = $3
                  FROM (SELECT 1) AS one
                  LEFT JOIN \(organization.qualified("activityparty")) AS s ON s.activityid = $1 AND s.participationtypemask = 1
                 WHERE e.activityid = $1
                """,
                [
                    .uuid(id), .text(email.to.joined(separator: ";").cut(to: 500)),
                    .text(email.references.isEmpty ? nil : email.references.map(\.withoutNull).joined(separator: " ")),
                    .text(email.from),
                ]
            ),
        ]
    }
}
