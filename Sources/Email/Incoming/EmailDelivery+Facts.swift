import Foundation
import Model
import PostgresClient
import Tenancy

// The data for the verdict on incoming e-mails.
extension EmailDelivery {
    /// The database's data about an e-mail.
    struct Facts {
        /// Whether it was delivered before.
        let isRecord: Bool
        /// Whether the mailbox sent it.
        let isOwn: Bool
        /// The filters of its recipients; empty if it has none here.
        let filters: Set<Filter>
    }

    /// `incomingemailfilteringmethod`: which e-mails of a user or a queue become records. A queue that ignores
    /// unsolicited mail (`ignoreunsolicitedemail`) does not take all of them.
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
        let addresses = emails.map { email in (email.to + email.cc + email.bcc).flatMap(EmailAddressRule.forms) }
        let groups = Array(Set(addresses))
        let filters = Self.recipientFilters(in: organization)
        let senders = emails.map { EmailAddressRule.forms($0.from) }
        let ids = emails.map { $0.recordID(organization: organization.id, mailbox: mailbox ?? organization.id) }
        var questions: [(sql: String, parameters: [PostgresParameter])] = [
            (
                Self.knownMessages(in: organization),
                [
                    .uuid(mailbox), .uuids(ids), .texts(emails.map(\.messageID)), .texts(senders.map { $0.first ?? "" }),
                    .texts(senders.map { $0.last ?? "" }),
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
            Facts(isRecord: try row.decode("is_record"), isOwn: try row.decode("is_own"), filters: filtersOfGroup[group] ?? [])
        }
    }

    /// Whether messages are records already, and whether the mailbox sent them, in order. $1 is the mailbox, $2 the ids of the
    /// records, $3 the Message-IDs, $4 and $5 the forms of the senders' addresses.
    private static func knownMessages(in organization: Organization) -> String {
        """
        SELECT EXISTS (SELECT FROM \(organization.qualified("email")) WHERE activityid = asked.id) AS is_record,
               EXISTS (SELECT FROM \(organization.qualified("email")) AS e
                         JOIN \(organization.qualified("mailbox")) AS m ON m.mailboxid = $1
                        WHERE asked.messageid <> '' AND e.directioncode AND lower(e.messageid) = lower(asked.messageid)
                          AND lower(m.emailaddress) IN (asked.sender, asked.other)) AS is_own
          FROM unnest($2, $3, $4, $5) WITH ORDINALITY AS asked (id, messageid, sender, other, number)
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
