import Foundation
import JSON
import Model
import PostgresClient
import Records
import Tenancy

/// The record of an incoming e-mail.
struct IncomingRecord {
    let id: UUID
    let email: IncomingEmail
    let draft: NewRecord
    let files: IncomingFiles

    /// Whether the record lacks a part of the message.
    var isIncomplete: Bool { !files.hasOriginal && (files.lacksSome || email.bodyIsCut) }

    /// The values of a record's attribute `notifications`.
    enum Notification: Int {
        case none = 0
        case lacksFiles, isCut
    }

    /// The attributes in which records of one mailbox differ.
    private static let own: Set<String> = [
        "activityid", "subject", "description", "mimetype", "messageid", "correlationmethod", "prioritycode", "notifications",
        "sender", "inreplyto", "senton", "trackingtoken", "parentactivityid", "regardingobjectid", "regardingobjecttypecode",
        "submittedby", "torecipients",
    ]

    /// The statements that write the records with their parties and attachments, in one round trip. The first statement returns the
    /// ids of the new records.
    ///
    /// Existing records do not change, because they have the same contents.
    static func statements(
        for records: [IncomingRecord], in organization: Organization
    ) -> [(sql: String, parameters: [PostgresParameter])] {
        var rows = RecordRows(records.map(\.draft), own: own, in: organization, conflict: .isLeft)
        addSender(to: &rows, records, organization)
        let references = rows.add(records.map { .text($0.references) }, named: "message_references")
        rows.fill("message_references", with: references)
        var statements = [rows.statement(in: organization), parties(of: records, organization)]
        if records.contains(where: { !$0.files.kept.isEmpty }) { statements.append(attachments(of: records, organization)) }
        return statements
    }

    private var references: String? {
        email.references.isEmpty ? nil : email.references.map(\.withoutNull).joined(separator: " ")
    }

    /// Adds the user or queue with the sender's address to each row.
    private static func addSender(to rows: inout RecordRows, _ records: [IncomingRecord], _ organization: Organization) {
        let forms = records.map { record in
            let address = record.email.from.address
            return EmailAddressRule.isOne(address) ? EmailAddressRule.forms(address) : []
        }
        let address = rows.add(forms.map { .text($0.first) }, named: "sender_address")
        let other = rows.add(forms.map { .text($0.last) }, named: "sender_other")
        let name = rows.add(records.map { .text($0.email.from.shownName) }, named: "sender_name")
        rows.join(holder(of: address, other, in: organization))
        rows.fill("emailsender", with: "coalesce(u.systemuserid, q.queueid)")
        rows.fill("emailsenderobjecttypecode", with: holderType)
        rows.fill("emailsendername", with: "coalesce(u.fullname, q.name, \(name), added.sender)")
        let replies = rows.add(
            records.map { .text(ReplyAddresses.text($0.email.replyTo, from: $0.email.from.address)) }, named: "reply_addresses")
        rows.fill(
            "activityadditionalparams",
            with: SentName.sql(name, of: "added.sender", "coalesce(u.systemuserid, q.queueid)", besides: replies))
    }

    /// Joins the user `u`, or else the queue `q`, that has an address in one of two forms.
    private static func holder(of address: String, _ other: String, in organization: Organization) -> String {
        """
        LEFT JOIN LATERAL (SELECT systemuserid, fullname FROM \(organization.qualified("systemuser"))
            WHERE lower(internalemailaddress) IN (lower(\(address)), \(other)) ORDER BY createdon LIMIT 1) AS u ON true
        LEFT JOIN LATERAL (SELECT queueid, name FROM \(organization.qualified("queue"))
            WHERE lower(emailaddress) IN (lower(\(address)), \(other)) ORDER BY createdon LIMIT 1) AS q ON u.systemuserid IS NULL
        """
    }

    private static let holderType =
        "CASE WHEN u.systemuserid IS NOT NULL THEN 'systemuser' WHEN q.queueid IS NOT NULL THEN 'queue' END"

    /// The parties of the records, with the users and queues of these addresses.
    private static func parties(
        of records: [IncomingRecord], _ organization: Organization
    ) -> (sql: String, parameters: [PostgresParameter]) {
        var (ids, kinds, addresses, names): ([UUID], [Int64], [String], [String]) = ([], [], [], [])
        for record in records {
            let email = record.email
            let people: [(Participation, [IncomingEmail.Person])] = [
                (.to, email.to), (.cc, email.cc), (.bcc, email.bcc),
            ]
            let recipients = people.flatMap { kind, people in
                people.filter { EmailAddressRule.isOne($0.address) }.map { (kind, $0) }
            }
            // A sender without an address is a party too, because its text is all that identifies it.
            for (kind, person) in ([(Participation.sender, email.from)] + recipients).prefix(EmailParts.limit) {
                ids.append(record.id)
                kinds.append(Int64(kind.rawValue))
                addresses.append(person.address)
                names.append(person.shownName ?? "")
            }
        }
        return (
            """
            INSERT INTO \(organization.qualified("activityparty")) (activitypartyid, activityid, participationtypemask, ispartydeleted,
                donotemail, partyid, partyobjecttypecode, partyidname, addressused)
            SELECT p.id, p.activityid, p.kind::integer, false, false, coalesce(u.systemuserid, q.queueid), \(holderType),
                   coalesce(u.fullname, q.name, nullif(p.name, ''), p.address), p.address
              FROM unnest($1, $2, $3, $4, $5, $6) AS p (id, activityid, kind, address, other, name)
              \(holder(of: "p.address", "p.other", in: organization))
             WHERE NOT EXISTS (SELECT FROM \(organization.qualified("activityparty")) AS known WHERE known.activityid = p.activityid)
            """,
            [
                // Time-ordered ids keep the order of the header.
                .uuids(UUID.timeOrdered(count: ids.count)), .uuids(ids), .int64s(kinds), .texts(addresses),
                .texts(addresses.map { EmailAddressRule.forms($0).last ?? "" }), .texts(names),
            ]
        )
    }

    private static func attachments(
        of records: [IncomingRecord], _ organization: Organization
    ) -> (sql: String, parameters: [PostgresParameter]) {
        let all = records.flatMap { record in record.files.kept.enumerated().map { (record.id, $0.offset + 1, $0.element) } }
        return (
            """
            INSERT INTO \(organization.qualified("activitymimeattachment")) (activitymimeattachmentid, objectid, objecttypecode,
                attachmentnumber, body, filename, filesize, mimetype, subject, attachmentcontentinfo, isfollowed)
            SELECT a.id, a.objectid, 'email', a.number::integer, nullif(a.body, ''), a.name, a.size::integer, nullif(a.type, ''),
                   nullif(a.subject, ''), nullif(a.content_id, ''), false
              FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) AS a (id, objectid, number, body, name, size, type, subject, content_id)
             WHERE NOT EXISTS (SELECT FROM \(organization.qualified("activitymimeattachment")) AS known WHERE known.objectid = a.objectid)
            """,
            [
                .uuids(all.map { _ in .timeOrdered() }), .uuids(all.map(\.0)), .int64s(all.map { Int64($0.1) }),
                .texts(all.map(\.2.body)),
                .texts(all.map { $0.2.name.cut(to: 255) }), .int64s(all.map { Int64($0.2.size) }),
                .texts(all.map { $0.2.type?.cut(to: 256) ?? "" }),
                .texts(all.map { ($0.2.note ?? $0.2.subject)?.cut(to: 2_000) ?? "" }),
                .texts(all.map { $0.2.contentID?.cut(to: 300) ?? "" }),
            ]
        )
    }
}

extension IncomingEmail.Person {
    /// The name that a record keeps; nil if there is no name, or it has no visible character.
    fileprivate var shownName: String? {
        name.map { $0.cut(to: EmailNameRule.limit) }.flatMap { EmailNameRule.isSeen($0) ? $0 : nil }
    }
}

extension IncomingEmail {
    /// The recipients that fit into a record's attribute, with `;` between them. The parties have all recipients.
    fileprivate var shownRecipients: String {
        var text = to.first?.address ?? ""
        for address in to.dropFirst().map(\.address) {
            guard text.utf16.count + 1 + address.utf16.count <= 500 else { break }
            text += ";\(address)"
        }
        return text.cut(to: 500)
    }
}

extension EmailDelivery {
    /// Adds 1 to the number of replies of the e-mail that was answered.
    ///
    /// - Returns: The regarding record of the e-mail that was answered.
    func countAnswer(to parent: UUID, on connection: isolated PostgresConnection) throws -> (id: UUID, type: String)? {
        let organization = session.organization
        let row = try connection.query(
            """
            UPDATE \(organization.qualified("email")) SET replycount = \(StoredCount("replycount").increased()),
                   versionnumber = nextval('\(organization.qualified("version_number").replacing("'", with: "''"))')
             WHERE activityid = $1
            RETURNING regardingobjectid, regardingobjecttypecode
            """, [.uuid(parent)]
        ).first
        guard let row, let id: UUID = try row.decodeIfPresent("regardingobjectid"),
            let type: String = try row.decodeIfPresent("regardingobjecttypecode")
        else { return nil }
        return (id, type)
    }

    /// The record of an e-mail.
    func record(
        of email: IncomingEmail, _ id: UUID, _ mailbox: UUID?, _ place: Place, _ verdict: IncomingVerdict,
        _ regarding: (id: UUID, type: String)?
    ) -> IncomingRecord {
        let files = IncomingFiles(email, limit: place.attachmentLimit)
        let notification: IncomingRecord.Notification = files.lacksSome ? .lacksFiles : email.bodyIsCut ? .isCut : .none
        var values: [String: AttributeValue] = [
            "subject": .text(email.subject.cut(to: EntityDefinition.emailSubjectUnits)),
            "description": .text(email.body.withoutNull),
            "mimetype": .text(email.bodyType),
            "directioncode": .bool(false), "statuscode": .int(EmailStatus.received.rawValue),
            "statecode": .int(EmailStatus.received.state), "messageid": .text(email.messageID.cut(to: 320)),
            "correlationmethod": .int(Int64(verdict.correlation.rawValue)), "ownerid": .id(place.owner),
            "prioritycode": .int(Int64(email.importance)), "notifications": .int(Int64(notification.rawValue)),
            "sender": .text(email.from.address), "torecipients": .text(email.shownRecipients),
        ]
        // An empty text counts as no value, as in each other write of a record.
        values = values.filter { $0.value != .text("") }
        if let type = place.ownerType { values["owneridtype"] = .text(type) }
        if let reply = email.inReplyTo.first { values["inreplyto"] = .text(reply.cut(to: 320)) }
        if let date = email.receivedOn { values["senton"] = .date(date) }
        if let account = email.submittedBy, !account.isEmpty { values["submittedby"] = .text(account.cut(to: 250)) }
        if let mailbox { values["receivingmailboxid"] = .id(mailbox) }
        if let token = email.trackingToken { values["trackingtoken"] = .text(token) }
        if let parent = verdict.parent { values["parentactivityid"] = .id(parent) }
        if let regarding {
            values["regardingobjectid"] = .id(regarding.id)
            values["regardingobjecttypecode"] = .text(regarding.type)
        }
        let draft = NewRecord(
            .email, id: id, values,
            origin: .init(
                organization: session.organization, user: session.caller.systemUserID ?? place.owner, businessUnit: place.unit,
                delegate: session.caller.impersonation?.systemUserID))
        return IncomingRecord(id: id, email: email, draft: draft, files: files)
    }
}
