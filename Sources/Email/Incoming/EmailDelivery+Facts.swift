import Foundation
import Model
import PostgresClient
import Tenancy

// The data that decides whether an incoming e-mail becomes a record.
extension EmailDelivery {
    /// The database's data about an e-mail.
    struct Facts {
        /// The e-mail's record, if the e-mail was delivered before.
        let record: StoredRecord?
        /// Whether the mailbox sent the e-mail.
        let isOwn: Bool
        /// The filters of the e-mail's recipients; empty if none of them is in this organization.
        let filters: Set<Filter>
    }

    /// A record that exists.
    struct StoredRecord {
        let id: UUID
        /// Whether the record lacks a part of the message.
        let isIncomplete: Bool
    }

    /// `incomingemailfilteringmethod`: which e-mails of a user or a queue become records. A queue that ignores unsolicited mail
    /// (`ignoreunsolicitedemail`) has at least the filter ``answers``.
    enum Filter: Int {
        case all = 0
        case answers, knownRecords, knownSenders
    }

    /// Reads the data about several e-mails in one round trip.
    ///
    /// Most e-mails of a mailbox have the same recipients. Each group of recipients is looked up once.
    func facts(
        about emails: [IncomingEmail], _ mailbox: UUID?, on connection: isolated PostgresConnection
    ) throws -> [Facts] {
        let organization = session.organization
        let addresses = emails.map { email in (email.to + email.cc + email.bcc).flatMap { EmailAddressRule.forms($0.address) } }
        let groups = Array(Set(addresses))
        let filters = Self.recipientFilters(in: organization)
        let senders = emails.map { EmailAddressRule.forms($0.from.address) }
        let place = mailbox ?? organization.id
        let ids = emails.map { $0.recordID(organization: organization.id, mailbox: place) }
        let earlier = emails.map { $0.earlierRecordID(organization: organization.id, mailbox: place) }
        var questions: [(sql: String, parameters: [PostgresParameter])] = [
            (
                Self.knownMessages(in: organization),
                [
                    .uuid(mailbox), .uuids(ids), .uuids(earlier), .texts(emails.map(\.messageID)),
                    .texts(senders.map { $0.first ?? "" }), .texts(senders.map { $0.last ?? "" }),
                ]
            )
        ]
        for group in groups { questions.append((filters, [.uuid(mailbox), .texts(group)])) }
        let answers = try connection.pipeline(questions)
        var filtersOfGroup: [[String]: Set<Filter>] = [:]
        for (group, answer) in zip(groups, answers.dropFirst()) {
            filtersOfGroup[group] = Set(try answer.map { try $0.decode(0, as: Int.self) }.compactMap(Filter.init))
        }
        return try zip(addresses, answers[0]).map { group, row in
            let record: UUID? = try row.decodeIfPresent("record")
            return Facts(
                record: try record.map { StoredRecord(id: $0, isIncomplete: try row.decode("is_incomplete")) },
                isOwn: try row.decode("is_own"), filters: filtersOfGroup[group] ?? [])
        }
    }

    /// The ids among `ids` whose records have every part of the message.
    func complete(_ ids: [UUID], on connection: isolated PostgresConnection) throws -> Set<UUID> {
        let organization = session.organization
        let rows = try connection.query(
            """
            SELECT e.activityid FROM \(organization.qualified("email")) AS e
             WHERE e.activityid = ANY ($1) AND NOT \(Self.incompleteCondition("e", in: organization))
            """, [.uuids(ids)])
        return Set(try rows.map { try $0.decode(0) })
    }

    /// The SQL condition for an e-mail that lacks a part of its message. The condition is true if the e-mail's notifications say
    /// that files were left out or the text was cut, and the original message is not attached.
    private static func incompleteCondition(_ email: String, in organization: Organization) -> String {
        """
        (coalesce(\(email).notifications, 0) IN (\(IncomingRecord.Notification.lacksFiles.rawValue), \(IncomingRecord.Notification.isCut.rawValue))
            AND NOT EXISTS (SELECT FROM \(organization.qualified("activitymimeattachment")) AS a
                             WHERE a.objectid = \(email).activityid AND a.mimetype = '\(IncomingEmail.Attachment.typeOfOriginal)'
                               AND a.subject IS NOT NULL))
        """
    }

    /// For each message in order: its existing record, and whether the mailbox sent it. $1 is the mailbox, and $2 has the ids of
    /// the records. $3 has the ids that earlier versions gave the records. $4 has the Message-IDs, $5 and $6 the two forms of the
    /// senders' addresses.
    private static func knownMessages(in organization: Organization) -> String {
        """
        SELECT known.activityid AS record, known.is_incomplete,
               EXISTS (SELECT FROM \(organization.qualified("email")) AS e
                         JOIN \(organization.qualified("mailbox")) AS m ON m.mailboxid = $1
                        WHERE asked.messageid <> '' AND e.directioncode AND lower(e.messageid) = lower(asked.messageid)
                          AND lower(m.emailaddress) IN (asked.sender, asked.other)) AS is_own
          FROM unnest($2, $3, $4, $5, $6) WITH ORDINALITY AS asked (id, earlier, messageid, sender, other, number)
          LEFT JOIN LATERAL (
                SELECT e.activityid, \(incompleteCondition("e", in: organization)) AS is_incomplete
                  FROM \(organization.qualified("email")) AS e WHERE e.activityid IN (asked.id, asked.earlier)
                 ORDER BY e.activityid <> asked.id LIMIT 1) AS known ON true
         ORDER BY asked.number
        """
    }

    /// The filters of an e-mail's recipients. $1 is the mailbox, $2 the addresses.
    private static func recipientFilters(in organization: Organization) -> String {
        """
        SELECT DISTINCT filter FROM (
            SELECT coalesce(s.incomingemailfilteringmethod, \(Filter.answers.rawValue)) AS filter
              FROM \(organization.qualified("systemuser")) AS u
              JOIN \(organization.qualified("usersettings")) AS s USING (systemuserid)
             WHERE NOT coalesce(u.isdisabled, false) AND (lower(u.internalemailaddress) = ANY ($2) OR u.systemuserid = (
                SELECT regardingobjectid FROM \(organization.qualified("mailbox")) WHERE mailboxid = $1 AND regardingobjecttypecode = 'systemuser'))
            UNION ALL
            SELECT greatest(coalesce(q.incomingemailfilteringmethod, \(Filter.all.rawValue)),
                            CASE WHEN q.ignoreunsolicitedemail THEN \(Filter.answers.rawValue) ELSE \(Filter.all.rawValue) END)
              FROM \(organization.qualified("queue")) AS q
             WHERE q.statecode = \(RecordState.active.sql) AND (lower(q.emailaddress) = ANY ($2) OR q.queueid = (
                SELECT regardingobjectid FROM \(organization.qualified("mailbox")) WHERE mailboxid = $1 AND regardingobjecttypecode = 'queue'))
            UNION ALL
            SELECT \(Filter.all.rawValue) FROM \(organization.qualified("mailbox"))
             WHERE mailboxid = $1 AND regardingobjectid IS NULL AND NOT coalesce(isforwardmailbox, false)
        ) AS filters
        """
    }
}
