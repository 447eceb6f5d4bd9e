package import Foundation
import Model
import PostgresClient
import Records
package import Tenancy

/// The status of a mailbox that a router works for: the last success, what waits, what was set aside, and what comes next.
package struct MailboxStatus: Sendable {
    package let id: UUID
    package let name: String
    package let address: String
    package let receives: Bool
    package let sends: Bool
    /// 0 not run, 1 success, 2 failure.
    package let incomingStatus: Int
    package let outgoingStatus: Int
    /// The router that works on the mailbox now; nil for none.
    package let leasedTo: String?
    /// The router that waits for new messages on the mail server; nil for none, and then the mailbox is polled.
    package let watchedBy: String?
    /// When a turn last succeeded.
    package let lastSync: Date?
    /// When the mailbox is due next; a mailbox that is watched is due when a message arrives.
    package let nextTurn: Date?
    /// Consecutive turns with a temporary failure.
    package let failures: Int
    /// E-mails that wait to be sent, the time of the next attempt, and e-mails that were not sent.
    package let pending: Int
    package let nextSending: Date?
    package let failed: Int
    /// Why no router works for the mailbox although it is enabled; nil where routers do.
    package let obstacle: Obstacle?
    /// What is wrong with the mailbox, since when, and the alert's code.
    package let error: String?
    package let errorCode: Int?
    package let errorSince: Date?
    /// Messages that could not be fetched, and the first few of them.
    package let setAside: Int
    package let messages: [SetAsideMessage]

    /// What a mailbox lacks for a router to work for it.
    package enum Obstacle: String, Sendable {
        case profile = "no profile"
        case activeProfile = "inactive profile"
        case deliveryMethod = "no delivery method"
    }

    /// A message that the mail server did not give.
    package struct SetAsideMessage: Sendable {
        /// UIDVALIDITY:UID of IMAP, or the unique id of POP3.
        package let uid: String
        package let messageID: String?
        /// The mail server's words.
        package let reason: String
        package let attempts: Int
        package let nextAttempt: Date?
        package let since: Date
    }

    /// Seconds after which a due mailbox without a turn is a problem.
    private static let lateSeconds = 600.0

    /// Whether the mailbox has been due for long, so that no router seems to work for it.
    package var isLate: Bool {
        guard receives, obstacle == nil, leasedTo == nil, watchedBy == nil, let nextTurn else { return false }
        return nextTurn < Date().addingTimeInterval(-Self.lateSeconds)
    }

    /// Whether the next turn is further away than any setting has it.
    package var isPostponedFar: Bool {
        receives && obstacle == nil && watchedBy == nil && nextTurn.map { $0 > Date().addingTimeInterval(Self.farSeconds) } ?? false
    }

    /// Thirty days.
    private static let farSeconds = 30 * 86_400.0

    /// Whether a person should look at the mailbox.
    package var hasProblem: Bool {
        error != nil || setAside > 0 || isLate || isPostponedFar || incomingStatus == 2 && !receives
            || outgoingStatus == 2 && !sends
    }
}

/// A router that requested work recently.
package struct MailRouterStatus: Sendable {
    package let name: String
    package let startedOn: Date
    package let seenOn: Date
    /// How many mailboxes it waits for on their servers.
    package let watching: Int
}

extension Session {
    /// How many messages of one mailbox a status lists.
    private static let messageLimit = 10

    /// The mailboxes that a router works for or stopped working for: those with problems first, then by name.
    ///
    /// - Parameter id: The mailbox to read; nil for all.
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for other roles than the two administrators.
    package func mailboxStatuses(of id: UUID? = nil) async throws -> [MailboxStatus] {
        try requireMailAdministrator()
        return try await deployment.pool.withConnection { connection in
            let messages = try setAsideMessages(of: id, on: connection)
            return try connection.query(statuses, [.uuid(id)]).map { try status($0, messages) }
        }
        .sorted { one, other in one.hasProblem && !other.hasProblem || one.hasProblem == other.hasProblem && one.name < other.name }
    }

    /// The routers that requested work within the last minutes.
    package func mailRouters() async throws -> [MailRouterStatus] {
        try requireMailAdministrator()
        return try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT r.router, r.started_on, r.seen_on, (SELECT count(*) FROM \(organization.qualified("mailbox_watch")) AS w WHERE w.router = r.router)
                  FROM \(organization.qualified("mail_router")) AS r WHERE \(DueMailboxes.isAlive("r")) ORDER BY r.router
                """
            ).map {
                MailRouterStatus(
                    name: try $0.decode(0), startedOn: try $0.decode(1), seenOn: try $0.decode(2), watching: try $0.decode(3))
            }
        }
    }

    private func requireMailAdministrator() throws(FieldsealError) {
        guard !caller.roles.isDisjoint(with: RoleSet([.systemAdministrator, .emailAdministrator])) else {
            throw FieldsealError(
                .privilegeDenied, "Only a System Administrator or an Email Administrator may read how mailboxes are.")
        }
    }

    /// $1 is the mailbox; null for all.
    private var statuses: String {
        func table(_ name: String) -> String { organization.qualified(name) }
        return """
            WITH sending AS (
                SELECT e.sendermailboxid, count(*) FILTER (WHERE e.statuscode <> \(EmailStatus.failed.sql)) AS pending,
                       count(*) FILTER (WHERE e.statuscode = \(EmailStatus.failed.sql)) AS failed,
                       min(greatest(e.createdon, e.delayedemailsendtime, e.postponeemailprocessinguntil)) FILTER (WHERE e.statuscode = \(EmailStatus.pendingSend.sql)) AS next
                  FROM \(table("email")) AS e
                 WHERE e.statuscode IN \(EmailStatus.outbound.union([.failed]).sql) AND ($1 IS NULL OR e.sendermailboxid = $1) GROUP BY 1),
            aside AS (SELECT s.mailboxid, count(*) FROM \(table("mailbox_message")) AS s WHERE s.next_attempt IS NOT NULL GROUP BY 1)
            SELECT m.mailboxid, coalesce(m.name, ''), coalesce(m.emailaddress, ''), coalesce(m.enabledforincomingemail, false),
                   coalesce(m.enabledforoutgoingemail, false), coalesce(m.incomingemailstatus, 0), coalesce(m.outgoingemailstatus, 0),
                   CASE WHEN \(DueMailboxes.isLeased("m")) THEN m.hostid END, r.router, m.lastsuccessfulsynccompletedon,
                   m.postponemailboxprocessinguntil, coalesce(m.transientfailurecount, 0), coalesce(sending.pending, 0), sending.next,
                   coalesce(sending.failed, 0), m.lastsyncerror, CASE WHEN m.lastsyncerror IS NOT NULL THEN m.lastsyncerrorcode END,
                   CASE WHEN m.lastsyncerror IS NOT NULL THEN m.lastsyncerroroccurredon END, coalesce(aside.count, 0), \(obstacle)
              FROM \(table("mailbox")) AS m
              LEFT JOIN \(table("emailserverprofile")) AS p ON p.emailserverprofileid = m.emailserverprofile
              LEFT JOIN sending ON sending.sendermailboxid = m.mailboxid
              LEFT JOIN aside ON aside.mailboxid = m.mailboxid
              LEFT JOIN \(table("mailbox_watch")) AS w ON w.mailboxid = m.mailboxid
              LEFT JOIN \(table("mail_router")) AS r ON r.router = w.router AND \(DueMailboxes.isAlive("r"))
             WHERE m.statecode = 0 AND ($1 IS NULL OR m.mailboxid = $1)
               AND (m.enabledforincomingemail OR m.enabledforoutgoingemail OR m.testemailconfigurationscheduled
                    OR m.incomingemailstatus <> 0 OR m.outgoingemailstatus <> 0)
            """
    }

    /// ``MailboxStatus/Obstacle``, in the order in which a person removes them.
    private var obstacle: String {
        """
        CASE WHEN NOT (coalesce(m.enabledforincomingemail, false) OR coalesce(m.enabledforoutgoingemail, false) OR \(DueMailboxes.tests)) THEN NULL
             WHEN p.emailserverprofileid IS NULL THEN '\(MailboxStatus.Obstacle.profile.rawValue)'
             WHEN p.statecode <> 0 THEN '\(MailboxStatus.Obstacle.activeProfile.rawValue)'
             WHEN NOT (\(DueMailboxes.receives) OR \(DueMailboxes.sends) OR \(DueMailboxes.tests))
             THEN '\(MailboxStatus.Obstacle.deliveryMethod.rawValue)' END
        """
    }

    private func status(_ row: PostgresRow, _ messages: [UUID: [MailboxStatus.SetAsideMessage]]) throws -> MailboxStatus {
        let id: UUID = try row.decode(0)
        return MailboxStatus(
            id: id, name: try row.decode(1), address: try row.decode(2), receives: try row.decode(3), sends: try row.decode(4),
            incomingStatus: try row.decode(5), outgoingStatus: try row.decode(6), leasedTo: try row.decodeIfPresent(7),
            watchedBy: try row.decodeIfPresent(8), lastSync: try row.decodeIfPresent(9), nextTurn: try row.decodeIfPresent(10),
            failures: try row.decode(11), pending: try row.decode(12), nextSending: try row.decodeIfPresent(13),
            failed: try row.decode(14),
            obstacle: try row.decodeIfPresent(19, as: String.self).flatMap(MailboxStatus.Obstacle.init(rawValue:)),
            error: try row.decodeIfPresent(15), errorCode: try row.decodeIfPresent(16),
            errorSince: try row.decodeIfPresent(17), setAside: try row.decode(18), messages: messages[id] ?? [])
    }

    private func setAsideMessages(
        of id: UUID?, on connection: isolated PostgresConnection
    ) throws -> [UUID: [MailboxStatus.SetAsideMessage]] {
        let rows = try connection.query(
            """
            SELECT s.mailboxid, s.uid, s.message_id, coalesce(s.reason, ''), s.attempts, s.next_attempt, s.noted_on FROM (
                SELECT s.*, row_number() OVER (PARTITION BY s.mailboxid ORDER BY s.next_attempt) AS number
                  FROM \(organization.qualified("mailbox_message")) AS s
                 WHERE s.next_attempt IS NOT NULL AND ($1 IS NULL OR s.mailboxid = $1)) AS s
             WHERE s.number <= $2 ORDER BY s.mailboxid, s.next_attempt
            """, [.uuid(id), .int64(Int64(Self.messageLimit))])
        var messages: [UUID: [MailboxStatus.SetAsideMessage]] = [:]
        for row in rows {
            messages[try row.decode(0), default: []].append(
                .init(
                    uid: try row.decode(1), messageID: try row.decodeIfPresent(2), reason: try row.decode(3),
                    attempts: try row.decode(4), nextAttempt: try row.decodeIfPresent(5), since: try row.decode(6)))
        }
        return messages
    }
}
