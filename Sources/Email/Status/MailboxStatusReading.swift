package import Foundation
import Model
import PostgresClient
import Records
package import Tenancy

/// The states of an organization's mailboxes and routers. System Administrators may read these states without the right to a
/// mailbox's record.
package struct MailboxStatusReading: Sendable {
    private let session: Session

    private var organization: Organization { session.organization }

    /// How many messages of one mailbox a status lists.
    private static let messageLimit = 10

    /// Checks that the caller is a System Administrator.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a caller that acts for another user.
    package init(_ session: Session) throws {
        try session.requireSystemAdministrator(to: "read how mailboxes and routers are")
        self.session = session
    }

    /// The mailboxes that a router works for or stopped working for: those with problems first, then by name.
    ///
    /// - Parameter id: The mailbox to read; nil for all.
    package func mailboxes(_ id: UUID? = nil) async throws -> [MailboxStatus] {
        try await session.deployment.pool.withConnection { connection in
            let messages = try setAsideMessages(of: id, on: connection)
            return try connection.query(statuses, [.uuid(id)]).map { try status($0, messages) }
        }
        .sorted { one, other in one.hasProblem && !other.hasProblem || one.hasProblem == other.hasProblem && one.name < other.name }
    }

    /// The routers that requested work within the last minutes.
    package func routers() async throws -> [MailRouterStatus] {
        try await session.deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT r.router, r.started_on, r.seen_on,
                       (SELECT count(*) FROM \(organization.qualified("mailbox_watch")) AS w WHERE w.router = r.router) AS watching
                  FROM \(organization.qualified("mail_router")) AS r WHERE \(DueMailboxes.isAlive("r")) ORDER BY r.router
                """
            ).map {
                MailRouterStatus(
                    name: try $0.decode("router"), startedOn: try $0.decode("started_on"), seenOn: try $0.decode("seen_on"),
                    watching: try $0.decode("watching"))
            }
        }
    }

    /// SQL for the statuses of mailboxes. $1 is the mailbox; null for all.
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
            SELECT m.mailboxid, coalesce(m.name, '') AS name, coalesce(m.emailaddress, '') AS address,
                   coalesce(m.enabledforincomingemail, false) AS receives, coalesce(m.enabledforoutgoingemail, false) AS sends,
                   coalesce(m.incomingemailstatus, \(MailOutcome.notRun.sql)) AS incoming_status,
                   coalesce(m.outgoingemailstatus, \(MailOutcome.notRun.sql)) AS outgoing_status,
                   CASE WHEN \(DueMailboxes.isLeased("m")) THEN m.hostid END AS leased_to, r.router AS watched_by,
                   m.lastsuccessfulsynccompletedon AS last_sync, m.postponemailboxprocessinguntil AS next_turn,
                   \(StoredCount("m.transientfailurecount").value) AS failures, coalesce(sending.pending, 0) AS pending,
                   sending.next AS next_sending, coalesce(sending.failed, 0) AS failed, m.lastsyncerror AS error,
                   CASE WHEN m.lastsyncerror IS NOT NULL THEN m.lastsyncerrorcode END AS error_code,
                   CASE WHEN m.lastsyncerror IS NOT NULL THEN m.lastsyncerroroccurredon END AS error_since,
                   coalesce(aside.count, 0) AS set_aside, alerts.count AS alerts, alerts.newest AS newest_alert, \(obstacle) AS obstacle
              FROM \(table("mailbox")) AS m
              LEFT JOIN \(table("emailserverprofile")) AS p ON p.emailserverprofileid = m.emailserverprofile
              LEFT JOIN sending ON sending.sendermailboxid = m.mailboxid
              LEFT JOIN aside ON aside.mailboxid = m.mailboxid
              LEFT JOIN LATERAL (SELECT count(*), (array_agg(t.text ORDER BY t.createdon DESC))[1] AS newest FROM \(table("tracelog")) AS t
                  WHERE t.regardingobjectid = m.mailboxid AND t.createdon > now() - interval '1 day'
                    AND t.level >= \(AlertLevel.warning.rawValue)) AS alerts ON true
              LEFT JOIN \(table("mailbox_watch")) AS w ON w.mailboxid = m.mailboxid
              LEFT JOIN \(table("mail_router")) AS r ON r.router = w.router AND \(DueMailboxes.isAlive("r"))
             WHERE m.statecode = \(RecordState.active.sql) AND ($1 IS NULL OR m.mailboxid = $1)
               AND (m.enabledforincomingemail OR m.enabledforoutgoingemail OR m.testemailconfigurationscheduled
                    OR m.incomingemailstatus <> \(MailOutcome.notRun.sql) OR m.outgoingemailstatus <> \(MailOutcome.notRun.sql))
            """
    }

    /// SQL for a mailbox's ``MailboxStatus/Obstacle``. If there are several obstacles, the result is the one that a person has to
    /// remove first.
    private var obstacle: String {
        """
        CASE WHEN NOT (coalesce(m.enabledforincomingemail, false) OR coalesce(m.enabledforoutgoingemail, false) OR \(DueMailboxes.tests)) THEN NULL
             WHEN p.emailserverprofileid IS NULL THEN '\(MailboxStatus.Obstacle.profile.rawValue)'
             WHEN p.statecode <> \(RecordState.active.sql) THEN '\(MailboxStatus.Obstacle.activeProfile.rawValue)'
             WHEN NOT (\(DueMailboxes.receives) OR \(DueMailboxes.sends) OR \(DueMailboxes.tests))
             THEN '\(MailboxStatus.Obstacle.deliveryMethod.rawValue)' END
        """
    }

    private func status(_ row: PostgresRow, _ messages: [UUID: [MailboxStatus.SetAsideMessage]]) throws -> MailboxStatus {
        let id: UUID = try row.decode("mailboxid")
        return MailboxStatus(
            id: id, name: try row.decode("name"), address: try row.decode("address"), receives: try row.decode("receives"),
            sends: try row.decode("sends"), incomingStatus: try row.decode("incoming_status"),
            outgoingStatus: try row.decode("outgoing_status"), leasedTo: try row.decodeIfPresent("leased_to"),
            watchedBy: try row.decodeIfPresent("watched_by"), lastSync: try row.decodeIfPresent("last_sync"),
            nextTurn: try row.decodeIfPresent("next_turn"), failures: try row.decode("failures"),
            pending: try row.decode("pending"), nextSending: try row.decodeIfPresent("next_sending"),
            failed: try row.decode("failed"), alerts: try row.decode("alerts"),
            newestAlert: try row.decodeIfPresent("newest_alert"),
            obstacle: try row.decodeIfPresent("obstacle", as: String.self).flatMap(MailboxStatus.Obstacle.init(rawValue:)),
            error: try row.decodeIfPresent("error"), errorCode: try row.decodeIfPresent("error_code"),
            errorSince: try row.decodeIfPresent("error_since"), setAside: try row.decode("set_aside"), messages: messages[id] ?? [])
    }

    private func setAsideMessages(
        of id: UUID?, on connection: isolated PostgresConnection
    ) throws -> [UUID: [MailboxStatus.SetAsideMessage]] {
        let rows = try connection.query(
            """
            SELECT s.mailboxid, s.uid, s.message_id, coalesce(s.reason, '') AS reason, s.attempts, s.next_attempt, s.noted_on FROM (
                SELECT s.*, row_number() OVER (PARTITION BY s.mailboxid ORDER BY s.next_attempt) AS number
                  FROM \(organization.qualified("mailbox_message")) AS s
                 WHERE s.next_attempt IS NOT NULL AND ($1 IS NULL OR s.mailboxid = $1)) AS s
             WHERE s.number <= $2 ORDER BY s.mailboxid, s.next_attempt
            """, [.uuid(id), .int64(Int64(Self.messageLimit))])
        var messages: [UUID: [MailboxStatus.SetAsideMessage]] = [:]
        for row in rows {
            messages[try row.decode("mailboxid"), default: []].append(
                .init(
                    uid: try row.decode("uid"), messageID: try row.decodeIfPresent("message_id"), reason: try row.decode("reason"),
                    attempts: try row.decode("attempts"), nextAttempt: try row.decodeIfPresent("next_attempt"),
                    since: try row.decode("noted_on")))
        }
        return messages
    }
}
