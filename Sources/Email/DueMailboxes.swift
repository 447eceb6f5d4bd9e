import Model
import Records
import RouterProtocol
import Tenancy

/// SQL conditions for the mailboxes at which a router has work, for leases and for waiting requests.
///
/// `m` is the mailbox, `p` its profile, and `q` and `u` the queue or the user's settings that may hold its credential.
struct DueMailboxes {
    let organization: Organization
    /// Whether this server has the organization's key.
    let hasKey: Bool

    /// The conditions for the routers of a session.
    init(_ session: Session) {
        organization = session.organization
        hasKey = session.deployment.keyring.dataKey(of: session.state) != nil
    }

    /// SQL for mailboxes joined with the records that decide about them.
    var source: String {
        """
        \(organization.qualified("mailbox")) AS m
        JOIN \(organization.qualified("emailserverprofile")) AS p ON p.emailserverprofileid = m.emailserverprofile
        LEFT JOIN \(organization.qualified("queue")) AS q ON m.regardingobjecttypecode = 'queue' AND q.queueid = m.regardingobjectid
        LEFT JOIN \(organization.qualified("usersettings")) AS u ON m.regardingobjecttypecode = 'systemuser' AND u.systemuserid = m.regardingobjectid
        """
    }

    /// Whether a router works on the mailbox now. A lease whose beginning is in the future by more than the duration of a lease was
    /// written by SQL, and does not count.
    static func isLeased(_ mailbox: String) -> String {
        """
        (coalesce(\(mailbox).processingstatecode, \(ProcessingState.idle.sql)) = \(ProcessingState.leased.sql)
            AND \(mailbox).processinglastattemptedon BETWEEN now() - interval '\(RouterLimits.leaseSeconds) seconds'
                AND now() + interval '\(RouterLimits.leaseSeconds) seconds')
        """
    }

    /// Whether a router in `mail_router` is alive.
    static func isAlive(_ router: String) -> String {
        let seconds = RouterLimits.presenceSeconds
        return
            "(\(router).seen_on > now() - interval '\(seconds) seconds' AND \(router).seen_on < now() + interval '\(seconds) seconds')"
    }

    /// Whether a router waits for the mailbox's new messages on its mail server.
    var isWatched: String {
        """
        EXISTS (SELECT FROM \(organization.qualified("mailbox_watch")) AS w JOIN \(organization.qualified("mail_router")) AS r USING (router)
                 WHERE w.mailboxid = m.mailboxid AND \(Self.isAlive("r")))
        """
    }

    /// Whether the router that watched the mailbox has ended, and no router has checked the mailbox since.
    private var isOrphaned: String {
        "EXISTS (SELECT FROM \(organization.qualified("mailbox_watch")) AS w WHERE w.mailboxid = m.mailboxid) AND NOT \(isWatched)"
    }

    static let receives =
        "coalesce(m.enabledforincomingemail AND m.incomingemaildeliverymethod IN \(DeliveryMethod.receiving.sql), false)"
    static let sends =
        "coalesce(m.enabledforoutgoingemail AND m.outgoingemaildeliverymethod = \(DeliveryMethod.serverSide.sql), false)"
    /// Whether the delivery methods allow a router to fetch or send for the mailbox. A missing method allows both.
    static let usesIncoming =
        "coalesce(m.incomingemaildeliverymethod, \(DeliveryMethod.serverSide.sql)) IN \(DeliveryMethod.receiving.sql)"
    static let usesOutgoing =
        "coalesce(m.outgoingemaildeliverymethod, \(DeliveryMethod.serverSide.sql)) = \(DeliveryMethod.serverSide.sql)"
    /// Whether the mailbox and its profile are active.
    static let isActive =
        "m.statecode = \(RecordState.active.sql) AND p.statecode = \(RecordState.active.sql)"
    static let tests = "coalesce(m.testemailconfigurationscheduled, false)"
    /// Whether the mailbox is marked as leased. If the lease of a marked mailbox has ended, its router ended without a report.
    static let wasLeft = "coalesce(m.processingstatecode = \(ProcessingState.leased.sql), false)"
    /// Whether the time of the next poll has come, or the pause after a failed turn is over.
    private static let isRested = "coalesce(m.postponemailboxprocessinguntil, '-infinity') <= now()"
    /// Whether settings or credentials were changed since the last turn began.
    private static let isChanged =
        "greatest(m.modifiedon, p.modifiedon, q.modifiedon, u.modifiedon) > coalesce(m.lastsyncstartedon, '-infinity')"

    private static let failures = StoredCount("m.transientfailurecount").value

    private var hasSetAside: String {
        """
        EXISTS (SELECT FROM \(organization.qualified("mailbox_message")) AS s WHERE s.mailboxid = m.mailboxid AND s.next_attempt <= now())
        """
    }

    /// Whether new messages are to be fetched. A watched mailbox is polled only if the time of its next poll is null, settings
    /// changed, or messages that were set aside are due.
    var receivesNow: String {
        """
        (\(Self.receives) AND (m.postponemailboxprocessinguntil IS NULL OR \(Self.isChanged) OR \(isOrphaned)
            OR \(Self.isRested) AND (NOT \(isWatched) OR \(hasSetAside))))
        """
    }

    /// Whether there is something to send.
    var sendsNow: String { "(\(Self.sends) AND \(hasPending))" }

    private var hasPending: String {
        """
        EXISTS (SELECT FROM \(organization.qualified("email")) AS e WHERE e.sendermailboxid = m.mailboxid
                   AND e.statuscode IN \(EmailStatus.outbound.sql)
                   AND (e.statuscode = \(EmailStatus.sending.sql) OR coalesce(e.delayedemailsendtime, '-infinity') <= now()
                        AND coalesce(e.postponeemailprocessinguntil, '-infinity') <= now()))
        """
    }

    /// Whether e-mails to send make the mailbox due before the next poll.
    private var sendingIsDue: String {
        """
        (\(Self.sends) AND \(hasPending)
            AND (\(Self.failures) = 0 OR \(Self.isRested) OR \(Self.isChanged)))
        """
    }

    /// Whether a person waits for the turn: for a test, or for an e-mail to be sent.
    var isUrgent: String { "(\(Self.tests) OR \(sendingIsDue))" }

    /// Whether the profile allows one more connection to its servers. If the profile sets a limit, watched mailboxes count too.
    private var hasRoom: String {
        """
        ((SELECT count(*) FROM \(organization.qualified("mailbox")) AS o
           WHERE o.emailserverprofile = p.emailserverprofileid AND o.processingstatecode = \(ProcessingState.leased.sql) AND \(Self.isLeased("o")))
         + CASE WHEN p.maxconcurrentconnections IS NULL THEN 0 ELSE (
            SELECT count(*) FROM \(organization.qualified("mailbox_watch")) AS w JOIN \(organization.qualified("mail_router")) AS r USING (router)
             WHERE w.emailserverprofile = p.emailserverprofileid AND w.mailboxid <> m.mailboxid AND \(Self.isAlive("r"))) END)
        < coalesce(p.maxconcurrentconnections, \(MailboxLeases.connectionsPerProfile))
        """
    }

    /// The mailboxes that may be leased now.
    ///
    /// - Parameter reason: The condition that makes a mailbox due; nil for the usual conditions.
    func condition(_ reason: String? = nil) -> String {
        let isDue = reason ?? "(\(isUrgent) OR \(receivesNow) OR \(Self.wasLeft))"
        return "\(Self.isActive) AND NOT \(Self.isLeased("m")) AND \(isDue) AND \(hasRoom)" + (hasKey ? "" : " AND \(Self.isNews)")
    }

    /// Whether a turn without the organization's key would report something new. Without the key no credential is released. If the
    /// mailbox already shows the error about the missing key, another turn would only write the same error again.
    private static let isNews =
        """
        (m.lastsyncerror IS NULL OR m.lastsyncerrorcode IS DISTINCT FROM \(AlertCode.keyRequired) OR \(tests) OR \(wasLeft))
        """

    /// The order of leases: first mailboxes without a time of the next poll, then turns that a person waits for. A poll that is
    /// more than ten minutes late precedes the turns that a person waits for.
    var order: String {
        """
        CASE WHEN m.postponemailboxprocessinguntil IS NULL THEN '-infinity'
             WHEN \(isUrgent) THEN now() - interval '10 minutes'
             ELSE m.postponemailboxprocessinguntil END, m.processinglastattemptedon NULLS FIRST
        """
    }

    /// A text that changes with each write of the mailbox, its profile, or the queue or user that holds its credential.
    static let revision = """
        md5(ROW(m.versionnumber, p.emailserverprofileid, p.versionnumber, q.versionnumber, u.versionnumber)::text)
        """

    /// Whether a signed-in router may still work on the mailbox.
    static let isAllowed =
        "coalesce(\(isActive) AND m.emailrouteraccessapproval = \(RouterApproval.approved.sql) AND \(receives), false)"

    /// The seconds until the next mailbox becomes due, if no record changes; null if no mailbox will. $1 is the router that asks.
    var next: String {
        """
        SELECT extract(epoch FROM min(t.moment) - now())::double precision FROM (
            SELECT m.postponemailboxprocessinguntil AS moment FROM \(organization.qualified("mailbox")) AS m
             WHERE m.statecode = \(RecordState.active.sql) AND m.emailserverprofile IS NOT NULL AND m.postponemailboxprocessinguntil > now()
               AND (\(Self.receives) AND NOT \(isWatched) OR \(Self.sends) AND \(Self.failures) > 0)
            UNION ALL
            SELECT greatest(e.delayedemailsendtime, e.postponeemailprocessinguntil)
              FROM \(organization.qualified("email")) AS e
             WHERE e.statuscode IN \(EmailStatus.outbound.sql) AND e.statuscode = \(EmailStatus.pendingSend.sql)
            UNION ALL
            SELECT s.next_attempt FROM \(organization.qualified("mailbox_message")) AS s WHERE s.next_attempt IS NOT NULL
            UNION ALL
            SELECT r.seen_on + interval '\(RouterLimits.presenceSeconds) seconds' FROM \(organization.qualified("mail_router")) AS r
             WHERE r.router <> $1 AND \(Self.isAlive("r"))
            UNION ALL
            -- A leased mailbox may be due again as soon as its turn ends.
            SELECT now() + interval '1 second' FROM \(organization.qualified("mailbox")) AS m
             WHERE m.processingstatecode = \(ProcessingState.leased.sql) AND \(Self.isLeased("m"))) AS t
         WHERE t.moment > now() AND t.moment < 'infinity'
        """
    }
}
