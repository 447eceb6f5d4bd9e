public import Foundation
import PostgresClient
public import RouterProtocol

extension Session {
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

    /// Leases the mailbox that is due first.
    ///
    /// What a router left behind that did not come back is put right along with it: e-mails that it had not handed over are pending
    /// again; of those that it was handing over nobody knows, and they are *Failed* with that reason.
    ///
    /// - Parameters:
    ///   - host: The router's name for this lease, new each time.
    ///   - mailbox: The one mailbox to lease, because its server has new messages; nil for any.
    /// - Returns: Nil when nothing is due.
    public func leaseMailbox(host: String, mailbox: UUID? = nil) async throws -> MailboxLease? {
        try requireRouter()
        return try await deployment.pool.withConnection { connection in
            try planned(on: connection) {
                // One after the other: who counts a profile's mailboxes has to see those that were leased a moment ago.
                _ = try connection.query(
                    "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [.text("\(organization.id.text) lease")])
                guard let row = try connection.query(leasing(mailbox), [.text(host)] + (mailbox.map { [.uuid($0)] } ?? [])).first
                else {
                    return nil
                }
                let id: UUID = try row.decode(0)
                let lease = try lease(id, row)
                // What a router that is gone watched is looked at now.
                _ = try connection.query(
                    """
                    DELETE FROM \(organization.qualified("mailbox_watch")) AS w WHERE w.mailboxid = $1 AND NOT EXISTS (
                        SELECT FROM \(organization.qualified("mail_router")) AS r WHERE r.router = w.router AND \(DueMailboxes.isAlive("r")))
                    """, [.uuid(id)])
                try settleSending(of: id, on: connection)
                return lease
            }
        }
    }

    /// The statement that leases a mailbox. $1 is the lease's name, $2 the one mailbox that is wanted.
    private func leasing(_ mailbox: UUID?) -> String {
        let due = DueMailboxes(organization: organization)
        let wanted = mailbox.map { _ in "(m.mailboxid = $2 AND \(DueMailboxes.receives))" }
        // A mailbox that is wanted has new messages.
        let receives = wanted == nil ? "(\(due.receivesNow) OR \(DueMailboxes.receives) AND \(DueMailboxes.wasLeft))" : "true"
        return """
            UPDATE \(organization.qualified("mailbox")) AS m
               SET hostid = $1, processingstatecode = 1, processinglastattemptedon = now(), lastsyncstartedon = now(),
                   forcedunlockcount = coalesce(forcedunlockcount, 0) + due.wasleft::int,
                   lastmailboxforcedunlockoccurredon = CASE WHEN due.wasleft THEN now() ELSE lastmailboxforcedunlockoccurredon END
              FROM (
                SELECT m.mailboxid, p.servertype, \(DueMailboxes.wasLeft) AS wasleft, \(DueMailboxes.revision) AS revision,
                       \(receives) AS receives,
                       \(due.sendsNow) AS sends,
                       coalesce(m.processemailreceivedafter, p.processemailsreceivedafter) AS after,
                       CASE WHEN p.moveundeliveredemails THEN coalesce(nullif(m.undeliverablefolder, ''), 'Undeliverable') END AS folder,
                       CASE WHEN p.timeoutmailboxconnection THEN (nullif(p.timeoutmailboxconnectionafteramount, 0) + 999) / 1000 END AS timeout
                  FROM \(due.source)
                 WHERE \(due.condition(wanted))
                 ORDER BY \(due.order)
                 LIMIT 1 FOR UPDATE OF m SKIP LOCKED) AS due
             WHERE m.mailboxid = due.mailboxid
            RETURNING m.mailboxid, m.name, m.emailaddress, coalesce(m.isforwardmailbox, false) AND m.regardingobjectid IS NULL,
                due.receives, due.sends, coalesce(m.testemailconfigurationscheduled, false), due.servertype,
                coalesce(m.processanddeleteemails, false) AND (coalesce(m.isforwardmailbox, false) OR m.regardingobjecttypecode = 'queue'),
                due.after, coalesce(due.timeout, 60), m.router_state, due.folder,
                (SELECT coalesce(max(maxuploadfilesize), 5242880) FROM \(organization.qualified("organization"))),
                (SELECT string_agg(uid, E'\\n') FROM (SELECT uid FROM \(organization.qualified("mailbox_message")) AS s
                    WHERE s.mailboxid = m.mailboxid AND s.next_attempt <= now() ORDER BY s.next_attempt LIMIT 50) AS due),
                due.revision
            """
    }

    private func lease(_ id: UUID, _ row: PostgresRow) throws -> MailboxLease {
        MailboxLease(
            mailboxId: id.text, name: try row.decodeIfPresent(1) ?? "", address: try row.decodeIfPresent(2) ?? "",
            isForward: try row.decode(3), receives: try row.decodeIfPresent(4) ?? false, sends: try row.decodeIfPresent(5) ?? false,
            tests: try row.decode(6), serverType: try row.decodeIfPresent(7) ?? 1, deletesAfterProcessing: try row.decode(8),
            processesReceivedAfter: try row.decodeIfPresent(9, as: Date.self).map { ISO8601.text($0) }, timeout: try row.decode(10),
            routerState: try row.decodeIfPresent(11), undeliverableFolder: try row.decodeIfPresent(12),
            attachmentLimit: try row.decode(13),
            setAside: (try row.decodeIfPresent(14) ?? "").split(separator: "\n").map(String.init), revision: try row.decode(15))
    }

    private func settleSending(of mailbox: UUID, on connection: isolated PostgresConnection) throws {
        let unknown = try connection.query(
            """
            UPDATE \(organization.qualified("email"))
               SET statuscode = CASE WHEN is_handed_over THEN 8 ELSE 6 END,
                   failure = CASE WHEN is_handed_over THEN $2 END,
                   versionnumber = nextval('\(organization.qualified("version_number"))')
             WHERE sendermailboxid = $1 AND statuscode = 7 RETURNING activityid, is_handed_over
            """, [.uuid(mailbox), .text(Self.nobodyKnows)])
        for row in unknown where try row.decode(1, as: Bool.self) {
            try alert(
                .mailbox, mailbox, level: 3, code: AlertCode.unknownOutcome, text: Self.nobodyKnows,
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
