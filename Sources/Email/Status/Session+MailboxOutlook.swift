package import Foundation
import JSON
import Model
import PostgresClient
import Records
package import Tenancy

extension Session {
    /// How many messages are listed.
    private static let namedMessages = 10

    /// Whether any router of the organization requested work recently.
    package func hasRouter() async throws -> Bool {
        let sql =
            "SELECT EXISTS (SELECT FROM \(organization.qualified("mail_router")) AS r WHERE \(DueMailboxes.isAlive("r"))) AS has_router"
        return try await deployment.pool.withConnection { connection in
            try connection.query(sql).first?.decode("has_router", as: Bool.self) ?? false
        }
    }

    /// What routers know of a mailbox that the caller may read.
    package func outlook(ofMailbox id: UUID) async throws -> MailboxOutlook {
        _ = try await retrieve(.mailbox, .id(id), [.init(.column(.init("mailboxid")))])
        func table(_ name: String) -> String { organization.qualified(name) }
        let sql = """
            SELECT (SELECT w.since FROM \(table("mailbox_watch")) AS w JOIN \(table("mail_router")) AS r USING (router)
                     WHERE w.mailboxid = m.mailboxid AND \(DueMailboxes.isAlive("r"))) AS watched_since,
                   \(DueMailboxes.isLeased("m")) AS is_worked_on, e.waiting, CASE WHEN e.next > now() THEN e.next END AS next_sending,
                   (SELECT count(*) FROM \(table("email")) AS f WHERE f.sendermailboxid = m.mailboxid AND f.statuscode = \(EmailStatus.failed.sql))
                       AS failed,
                   (SELECT count(*) FROM \(table("mailbox_message")) AS s WHERE s.mailboxid = m.mailboxid AND s.next_attempt IS NOT NULL)
                       AS set_aside,
                   EXISTS (SELECT FROM \(table("mail_router")) AS r WHERE \(DueMailboxes.isAlive("r"))) AS has_router
              FROM \(table("mailbox")) AS m CROSS JOIN LATERAL (
                   SELECT count(*) AS waiting, min(greatest(e.delayedemailsendtime, e.postponeemailprocessinguntil)) AS next
                     FROM \(table("email")) AS e WHERE e.sendermailboxid = m.mailboxid AND e.statuscode IN \(EmailStatus.outbound.sql)) AS e
             WHERE m.mailboxid = $1
            """
        let aside = """
            SELECT message_id, coalesce(reason, '') AS reason, attempts, next_attempt FROM \(table("mailbox_message"))
             WHERE mailboxid = $1 AND next_attempt IS NOT NULL ORDER BY next_attempt, uid LIMIT \(Self.namedMessages)
            """
        return try await deployment.pool.withConnection { connection in
            guard let row = try connection.query(sql, [.uuid(id)]).first else {
                throw FieldsealError.noSuchRecord(.mailbox, id.text)
            }
            let messages = try connection.query(aside, [.uuid(id)]).map { message in
                MailboxOutlook.SetAside(
                    messageID: try message.decodeIfPresent("message_id"), reason: try message.decode("reason"),
                    attempts: try message.decode("attempts"), nextAttempt: try message.decode("next_attempt"))
            }
            return MailboxOutlook(
                watchedSince: try row.decodeIfPresent("watched_since"), isWorkedOn: try row.decode("is_worked_on"),
                waiting: try row.decode("waiting"), nextSending: try row.decodeIfPresent("next_sending"),
                failed: try row.decode("failed"), setAside: messages, setAsideCount: try row.decode("set_aside"),
                hasRouter: try row.decode("has_router"))
        }
    }
}
