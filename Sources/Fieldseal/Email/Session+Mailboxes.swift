public import Foundation
import PostgresClient

/// A mailbox that a router works on until it gives it back, or its lease ends.
public struct LeasedMailbox: Sendable {
    public let id: UUID
    public let name: String
    public let address: String
    public let isForward: Bool
    /// What is to be done: fetch, send, or test what is not enabled yet.
    public let receives: Bool
    public let sends: Bool
    public let tests: Bool
    /// 0 Exchange, 1 POP3/SMTP, 4 IMAP/SMTP; Exchange is reached as the latter.
    public let serverType: Int
    public let deletesAfterProcessing: Bool
    public let processesReceivedAfter: Date?
    /// Seconds.
    public let timeout: Int
    /// What the last turn left, as the router wrote it.
    public let routerState: String?
    /// The folder that what can't be delivered is moved into; nil where it stays.
    public let undeliverableFolder: String?
    /// Bytes of an attachment that is kept.
    public let attachmentLimit: Int
    /// Messages that could not be fetched before and are due again.
    public let setAside: [String]
}

/// How a router's turn at a mailbox ended.
public struct MailboxReport: Sendable {
    public var routerState: String?
    public var processed = 0
    public var failed = 0
    /// Whether each direction was tried, and well.
    public var isIncomingWell: Bool?
    public var isOutgoingWell: Bool?
    public var error: Problem?
    /// What is to be said about single messages.
    public var alerts: [Problem] = []
    /// Seconds after which the mailbox is due again.
    public var interval = 300

    /// What is wrong with a mailbox, and what to do.
    public struct Problem: Sendable {
        public let code: Int
        public let text: String
        public let details: String
        public let isPermanent: Bool

        public init(code: Int, text: String, details: String, isPermanent: Bool) {
            (self.code, self.text, self.details, self.isPermanent) = (code, text, details, isPermanent)
        }
    }

    public init() {}
}

extension Session {
    /// Seconds that a lease lasts since its router's last word.
    static let leaseSeconds = 120.0
    /// Failures in a row after which a temporary error counts as a permanent one.
    static let transientLimit = 10
    /// Connections of one profile at a time where it says nothing.
    static let connectionsPerProfile = 10

    func requireRouter() throws(FieldsealError) {
        guard caller.role == .emailRouter else {
            throw FieldsealError(.privilegeDenied, "Only an Email Router may do this.")
        }
        try requireOwnName("A message of the router")
    }

    /// Runs `body` in a transaction whose statements are planned once, by index.
    ///
    /// A plan takes longer than most of what is done here, and is kept with its connection. One that was made while a table was empty would
    /// read all of it ever after, or until somebody analyzes it; and the price that is put on that must not have statements compiled.
    func planned<Result>(on connection: isolated PostgresConnection, _ body: () throws -> Result) throws -> Result {
        try connection.transaction {
            try connection.execute(
                "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
            try confirm(on: connection)
            return try body()
        }
    }

    /// Leases the mailbox that has been due for longest.
    ///
    /// What a router left behind that did not come back is put right along with it: e-mails that it had not handed over are pending
    /// again; of those that it was handing over nobody knows, and they are *Failed* with that reason.
    ///
    /// - Parameter host: The router's name for this lease, new each time.
    /// - Returns: Nil when nothing is due.
    public func leaseMailbox(host: String) async throws -> LeasedMailbox? {
        try requireRouter()
        return try await deployment.pool.withConnection { connection in
            try planned(on: connection) {
                // One after the other: who counts a profile's mailboxes has to see those that were leased a moment ago.
                _ = try connection.query(
                    "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [.text("\(organization.id.text) lease")])
                let rows = try connection.query(
                    """
                    UPDATE \(organization.qualified("mailbox")) AS m
                       SET hostid = $1, processingstatecode = 1, processinglastattemptedon = now(), lastsyncstartedon = now(),
                           forcedunlockcount = coalesce(forcedunlockcount, 0) + due.wasleft::int,
                           lastmailboxforcedunlockoccurredon = CASE WHEN due.wasleft THEN now() ELSE lastmailboxforcedunlockoccurredon END
                      FROM (
                        SELECT m.mailboxid, p.servertype, m.processingstatecode = 1 AS wasleft,
                               coalesce(m.processemailreceivedafter, p.processemailsreceivedafter) AS after,
                               CASE WHEN p.moveundeliveredemails THEN coalesce(nullif(m.undeliverablefolder, ''), 'Undeliverable') END AS folder,
                               CASE WHEN p.timeoutmailboxconnection THEN (nullif(p.timeoutmailboxconnectionafteramount, 0) + 999) / 1000 END AS timeout
                          FROM \(organization.qualified("mailbox")) AS m
                          JOIN \(organization.qualified("emailserverprofile")) AS p ON p.emailserverprofileid = m.emailserverprofile
                         WHERE m.statecode = 0 AND p.statecode = 0
                           AND (m.testemailconfigurationscheduled
                                OR (m.enabledforincomingemail AND m.incomingemaildeliverymethod IN (2, 3)
                                    OR m.enabledforoutgoingemail AND m.outgoingemaildeliverymethod = 2)
                                   AND (coalesce(m.postponemailboxprocessinguntil, '-infinity') <= now()
                                        OR m.enabledforoutgoingemail AND coalesce(m.transientfailurecount, 0) = 0 AND EXISTS (
                                            SELECT FROM \(organization.qualified("email")) AS e WHERE e.sendermailboxid = m.mailboxid
                                               AND e.statuscode = 6 AND coalesce(e.delayedemailsendtime, '-infinity') <= now()
                                               AND coalesce(e.postponeemailprocessinguntil, '-infinity') <= now())))
                           AND (coalesce(m.processingstatecode, 0) <> 1 OR m.processinglastattemptedon < now() - $2 * interval '1 second')
                           AND (SELECT count(*) FROM \(organization.qualified("mailbox")) AS o
                                 WHERE o.emailserverprofile = p.emailserverprofileid AND o.processingstatecode = 1
                                   AND o.processinglastattemptedon >= now() - $2 * interval '1 second')
                               < coalesce(p.maxconcurrentconnections, $3)
                         ORDER BY coalesce(m.postponemailboxprocessinguntil, '-infinity'), m.processinglastattemptedon NULLS FIRST
                         LIMIT 1 FOR UPDATE OF m SKIP LOCKED) AS due
                     WHERE m.mailboxid = due.mailboxid
                    RETURNING m.mailboxid, m.name, m.emailaddress, coalesce(m.isforwardmailbox, false) AND m.regardingobjectid IS NULL,
                        m.enabledforincomingemail AND m.incomingemaildeliverymethod IN (2, 3), m.enabledforoutgoingemail AND m.outgoingemaildeliverymethod = 2,
                        coalesce(m.testemailconfigurationscheduled, false), due.servertype,
                        coalesce(m.processanddeleteemails, false) AND (coalesce(m.isforwardmailbox, false) OR m.regardingobjecttypecode = 'queue'),
                        due.after, coalesce(due.timeout, 60), m.router_state, due.folder,
                        (SELECT coalesce(max(maxuploadfilesize), 5242880) FROM \(organization.qualified("organization"))),
                        (SELECT string_agg(uid, E'\\n') FROM (SELECT uid FROM \(organization.qualified("mailbox_message")) AS s
                            WHERE s.mailboxid = m.mailboxid AND s.next_attempt <= now() ORDER BY s.next_attempt LIMIT 50) AS due)
                    """, [.text(host), .double(Self.leaseSeconds), .int64(Int64(Self.connectionsPerProfile))])
                guard let row = rows.first else { return nil }
                let mailbox = LeasedMailbox(
                    id: try row.decode(0), name: try row.decodeIfPresent(1) ?? "", address: try row.decodeIfPresent(2) ?? "",
                    isForward: try row.decode(3), receives: try row.decodeIfPresent(4) ?? false,
                    sends: try row.decodeIfPresent(5) ?? false,
                    tests: try row.decode(6), serverType: try row.decodeIfPresent(7) ?? 1,
                    deletesAfterProcessing: try row.decode(8),
                    processesReceivedAfter: try row.decodeIfPresent(9), timeout: try row.decode(10),
                    routerState: try row.decodeIfPresent(11), undeliverableFolder: try row.decodeIfPresent(12),
                    attachmentLimit: try row.decode(13),
                    setAside: (try row.decodeIfPresent(14) ?? "").split(separator: "\n").map(String.init))
                try settleSending(of: mailbox, on: connection)
                return mailbox
            }
        }
    }

    private func settleSending(of mailbox: LeasedMailbox, on connection: isolated PostgresConnection) throws {
        let unknown = try connection.query(
            """
            UPDATE \(organization.qualified("email"))
               SET statuscode = CASE WHEN is_handed_over THEN 8 ELSE 6 END,
                   failure = CASE WHEN is_handed_over THEN $2 END,
                   versionnumber = nextval('\(organization.qualified("version_number"))')
             WHERE sendermailboxid = $1 AND statuscode = 7 RETURNING activityid, is_handed_over
            """, [.uuid(mailbox.id), .text(Self.nobodyKnows)])
        for row in unknown where try row.decode(1, as: Bool.self) {
            try alert(
                .mailbox, mailbox.id, level: 3, code: RouterCode.unknownOutcome, text: Self.nobodyKnows,
                details: "e-mail \(try row.decode(0, as: UUID.self).text)", on: connection)
        }
    }

    static let nobodyKnows =
        "The connection broke while the mail server was taking the message, so nobody knows whether it was sent. Ask a recipient, or look "
        + "into the mail server's log for its Message-ID; then send it again, or cancel it."

    /// What a lease is used for: everything but a report asks for a mailbox that is still enabled and approved.
    enum LeaseUse {
        case reporting, delivering, taking, handingOver
        case signingIn(MailDirection)

        /// The condition under which the mailbox is enabled for it; a mailbox that is tested is enabled for both directions.
        fileprivate var condition: String {
            let receives = "m.enabledforincomingemail AND coalesce(m.incomingemaildeliverymethod, 2) IN (2, 3)"
            let sends = "m.enabledforoutgoingemail AND coalesce(m.outgoingemaildeliverymethod, 2) = 2"
            let use =
                switch self {
                case .reporting: "true"
                case .delivering, .signingIn(.incoming): receives
                case .taking, .handingOver, .signingIn(.outgoing): sends
                }
            return "m.statecode = 0 AND (m.testemailconfigurationscheduled OR \(use))"
        }
    }

    /// Keeps a lease, and checks that it is still the caller's, and that the mailbox may still be worked on.
    ///
    /// - Throws: ``FieldsealError`` `.concurrencyVersionMismatch` when another router has the mailbox by now, or it was disabled
    ///   or lost its approval; `.profileInactive` when an address is not approved that mail or a credential is asked for.
    func renewLease(_ mailbox: UUID, _ host: String, for use: LeaseUse, on connection: isolated PostgresConnection) throws {
        let table = organization.qualified("mailbox")
        let condition = "WHERE m.mailboxid = $1 AND m.hostid = $2 AND m.processingstatecode = 1"
        let facts = """
            coalesce(\(use.condition) AND coalesce((SELECT p.statecode = 0 FROM \(organization.qualified("emailserverprofile")) AS p
                WHERE p.emailserverprofileid = m.emailserverprofile), true), false), coalesce(m.emailrouteraccessapproval = 1, false), coalesce(m.emailaddress, '')
            """
        func held(_ sql: String) throws -> PostgresRow? { try connection.query(sql, [.uuid(mailbox), .text(host)]).first }
        // A young lease is left as it is: nobody may take it over, and a write that says nothing new has its price.
        let young = try held(
            "SELECT \(facts) FROM \(table) AS m \(condition) AND m.processinglastattemptedon > now() - interval '15 seconds' FOR SHARE"
        )
        guard
            let row = try young
                ?? held("UPDATE \(table) AS m SET processinglastattemptedon = now() \(condition) RETURNING \(facts)")
        else {
            throw FieldsealError(
                .concurrencyVersionMismatch, "This mailbox is not leased to this router any more. Leave it, and lease another one.")
        }
        if case .reporting = use { return }
        let isEnabled: Bool = try row.decode(0)
        let isApproved: Bool = try row.decode(1)
        switch use {
        case .taking where isEnabled && !isApproved, .signingIn where isEnabled && !isApproved:
            let address = try row.decode(2, as: String.self).quotedForMessage
            throw FieldsealError(
                .profileInactive, "The address \(address) is not approved: an administrator sets emailrouteraccessapproval to 1.")
        default: break
        }
        guard isEnabled, isApproved else {
            throw FieldsealError(
                .concurrencyVersionMismatch,
                "This mailbox was disabled, or lost its approval, since it was leased. Leave it, and lease another one.")
        }
    }

    /// Gives a mailbox back, with what became of it.
    public func reportMailbox(_ id: UUID, host: String, _ report: MailboxReport) async throws {
        try requireRouter()
        try await deployment.pool.withConnection { connection in
            try planned(on: connection) {
                try renewLease(id, host, for: .reporting, on: connection)
                let failures =
                    report.error == nil
                    ? 0
                    : try connection.query(
                        "SELECT coalesce(transientfailurecount, 0) + 1 FROM \(organization.qualified("mailbox")) WHERE mailboxid = $1",
                        [.uuid(id)])[
                            0
                        ].decode(0, as: Int.self)
                // It is the organization's to get its key back; no mailbox is switched off for that.
                let waitsForKey = report.error?.code == RouterCode.keyRequired
                // Settings that were changed past the service are an administrator's to check; the mailbox goes on by itself then.
                let waitsForReview = report.error?.code == RouterCode.notAuthorized
                let isPermanent =
                    !waitsForKey && !waitsForReview
                    && (report.error.map { $0.isPermanent || failures >= Self.transientLimit } ?? false)
                func status(_ isWell: Bool?) -> PostgresParameter { .int32(isWell.map { $0 ? 1 : 2 }) }
                // The longer it fails the longer it is left alone, up to an hour.
                let wait =
                    report.error == nil
                    ? report.interval
                    : waitsForKey ? min(30, report.interval) : min(3_600, max(report.interval, 30) << min(failures - 1, 7))
                _ = try connection.query(
                    """
                    UPDATE \(organization.qualified("mailbox"))
                       SET hostid = NULL, processingstatecode = 0, router_state = coalesce($2, router_state),
                           itemsprocessedforlastsync = $3, itemsfailedforlastsync = $4, processedtimes = coalesce(processedtimes, 0) + 1,
                           noemailcount = CASE WHEN $3 = 0 THEN coalesce(noemailcount, 0) + 1 ELSE 0 END,
                           lastduration = least(extract(epoch FROM now() - lastsyncstartedon) * 1000, 2147483647)::integer,
                           incomingemailstatus = coalesce($5, incomingemailstatus), outgoingemailstatus = coalesce($6, outgoingemailstatus),
                           mailboxstatus = CASE WHEN $8 IS NULL THEN 1 ELSE 2 END,
                           enabledforincomingemail = CASE WHEN $7 AND $5 = 2 THEN false WHEN testemailconfigurationscheduled AND $5 = 1 THEN true ELSE enabledforincomingemail END,
                           enabledforoutgoingemail = CASE WHEN $7 AND $6 = 2 THEN false WHEN testemailconfigurationscheduled AND $6 = 1 THEN true ELSE enabledforoutgoingemail END,
                           testmailboxaccesscompletedon = CASE WHEN testemailconfigurationscheduled THEN now() ELSE testmailboxaccesscompletedon END,
                           testemailconfigurationscheduled = false,
                           lastsyncerror = left($8, 2048), lastsyncerrorcode = $9,
                           lastsyncerrorcount = CASE WHEN $8 IS NULL THEN 0 ELSE coalesce(lastsyncerrorcount, 0) + 1 END,
                           lastsyncerroroccurredon = CASE WHEN $8 IS NULL THEN lastsyncerroroccurredon ELSE now() END,
                           lastsyncerrormachinename = CASE WHEN $8 IS NULL THEN lastsyncerrormachinename ELSE left($12, 320) END,
                           lastsuccessfulsynccompletedon = CASE WHEN $8 IS NULL THEN now() ELSE lastsuccessfulsynccompletedon END,
                           transientfailurecount = $10,
                           postponemailboxprocessinguntil = now() + interval '1 second' * CASE WHEN $11 = 0 THEN 0 ELSE greatest($11, (
                               SELECT 60 * p.minpollingintervalinminutes FROM \(organization.qualified("emailserverprofile")) AS p
                                WHERE p.emailserverprofileid = emailserverprofile)) END
                     WHERE mailboxid = $1
                    """,
                    [
                        .uuid(id), .text(report.routerState), .int32(Int32(clamping: report.processed)),
                        .int32(Int32(clamping: report.failed)),
                        status(report.isIncomingWell), status(report.isOutgoingWell), .bool(isPermanent), .text(report.error?.text),
                        .int32(report.error.map { Int32(clamping: $0.code) }),
                        .int32(Int32(isPermanent || waitsForKey ? 0 : failures)),
                        .double(Double(wait)),
                        .text(host),
                    ])
                for problem in report.alerts {
                    try alert(
                        .mailbox, id, level: 2, code: problem.code, text: problem.text, details: problem.details, on: connection)
                }
                if let error = report.error {
                    let text =
                        isPermanent ? "\(error.text) The mailbox is disabled until it is tested and enabled again." : error.text
                    try alert(
                        .mailbox, id, level: isPermanent || waitsForReview ? 3 : 2, code: error.code, text: text,
                        details: error.details,
                        on: connection)
                }
            }
        }
    }

    /// Writes an alert, or renews the newest one when it says the same.
    func alert(
        _ entity: EntityDefinition,
        _ id: UUID,
        level: Int,
        code: Int,
        text: String,
        details: String,
        on connection: isolated PostgresConnection
    ) throws {
        let repeated = try connection.query(
            """
            UPDATE \(organization.qualified("tracelog")) SET modifiedon = now(), errordetails = left($5, 2048)
             WHERE tracelogid = (SELECT tracelogid FROM \(organization.qualified("tracelog")) WHERE regardingobjectid = $1
                ORDER BY createdon DESC LIMIT 1) AND tracecode = $2 AND level = $3 AND text = left($4, 2000) RETURNING 1
            """, [.uuid(id), .int32(Int32(code)), .int32(Int32(level)), .text(text), .text(details)])
        guard repeated.isEmpty else { return }
        let draft = RecordDraft(
            .traceLog, id: .timeOrdered(),
            [
                "regardingobjectid": .id(id), "regardingobjecttypecode": .text(entity.logicalName), "level": .int(Int64(level)),
                "tracecode": .int(Int64(code)), "text": .text(String(text.prefix(2_000))),
                "errordetails": .text(String(details.prefix(2_000))),
                "tracestatus": .bool(level == 1),
            ],
            origin: .init(
                organization: organization, user: caller.systemUserID ?? organization.id,
                businessUnit: callersUnit ?? organization.id))
        try draft.insert(into: organization, on: connection)
    }
}

/// What alerts are about, in `tracelog.tracecode`. The original publishes no list; these stay the same.
public enum RouterCode {
    public static let tested = 1
    public static let wrongPassword = 10
    public static let certificate = 11
    public static let unreachable = 12
    public static let protocolError = 13
    public static let notApproved = 14
    public static let noCredential = 15
    public static let keyRequired = 16
    public static let folderChanged = 17
    public static let undeliverable = 18
    public static let refused = 20
    public static let tooLarge = 21
    public static let mailboxFull = 22
    public static let unknownOutcome = 23
    public static let attemptsExhausted = 24
    public static let notAuthorized = 25
    public static let mayNotSend = 26
}
