package import Foundation
import JSON
import Model
import PostgresClient
import Records
package import Tenancy

extension Session {
    /// How many messages are listed.
    private static let namedMessages = 10

    /// What routers know of a mailbox that the caller may read.
    package func outlook(ofMailbox id: UUID) async throws -> MailboxOutlook {
        _ = try await retrieve(.mailbox, .id(id), [.init(.column(.init("mailboxid")))])
        func table(_ name: String) -> String { organization.qualified(name) }
        let sql = """
            SELECT (SELECT w.since FROM \(table("mailbox_watch")) AS w JOIN \(table("mail_router")) AS r USING (router)
                     WHERE w.mailboxid = m.mailboxid AND \(DueMailboxes.isAlive("r"))),
                   \(DueMailboxes.isLeased("m")), e.waiting, CASE WHEN e.next > now() THEN e.next END,
                   (SELECT count(*) FROM \(table("email")) AS f WHERE f.sendermailboxid = m.mailboxid AND f.statuscode = \(EmailStatus.failed.sql)),
                   (SELECT count(*) FROM \(table("mailbox_message")) AS s WHERE s.mailboxid = m.mailboxid AND s.next_attempt IS NOT NULL),
                   EXISTS (SELECT FROM \(table("mail_router")) AS r WHERE \(DueMailboxes.isAlive("r")))
              FROM \(table("mailbox")) AS m CROSS JOIN LATERAL (
                   SELECT count(*) AS waiting, min(greatest(e.delayedemailsendtime, e.postponeemailprocessinguntil)) AS next
                     FROM \(table("email")) AS e WHERE e.sendermailboxid = m.mailboxid AND e.statuscode IN \(EmailStatus.outbound.sql)) AS e
             WHERE m.mailboxid = $1
            """
        let aside = """
            SELECT message_id, coalesce(reason, ''), attempts, next_attempt FROM \(table("mailbox_message"))
             WHERE mailboxid = $1 AND next_attempt IS NOT NULL ORDER BY next_attempt, uid LIMIT \(Self.namedMessages)
            """
        return try await deployment.pool.withConnection { connection in
            guard let row = try connection.query(sql, [.uuid(id)]).first else {
                throw FieldsealError.noSuchRecord(.mailbox, id.text)
            }
            let messages = try connection.query(aside, [.uuid(id)]).map { message in
                MailboxOutlook.SetAside(
                    messageID: try message.decodeIfPresent(0), reason: try message.decode(1), attempts: try message.decode(2),
                    nextAttempt: try message.decode(3))
            }
            return MailboxOutlook(
                watchedSince: try row.decodeIfPresent(0), isWorkedOn: try row.decode(1), waiting: try row.decode(2),
                nextSending: try row.decodeIfPresent(3), failed: try row.decode(4), setAside: messages,
                setAsideCount: try row.decode(5), hasRouter: try row.decode(6))
        }
    }
}
