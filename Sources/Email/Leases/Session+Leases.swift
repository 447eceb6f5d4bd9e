import Foundation
import JSON
import Model
import PostgresClient
import Records
import RouterProtocol
import Tenancy

// What the messages of the router and the delivery of e-mails have in common.
extension Session {
    /// Runs `body` in a transaction whose statements are planned once, by index.
    ///
    /// Planning takes longer than most of these statements, so a connection keeps its plans. A plan that was made while a table was
    /// empty would read the whole table until it is analyzed; so sequential scans are off. Their high price must not make PostgreSQL
    /// compile the statement, so `jit` is off too.
    func planned<Result>(on connection: isolated PostgresConnection, _ body: () throws -> Result) throws -> Result {
        try connection.transaction {
            try connection.execute(
                "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
            try confirm(on: connection)
            return try body()
        }
    }

    /// What a lease is used for: everything but a report asks for a mailbox that is still enabled and approved.
    enum LeaseUse {
        case reporting, delivering, taking, handingOver
        case signingIn(MailDirection)

        /// The condition under which the mailbox is enabled for it; a mailbox that is tested is enabled for each that has a method.
        fileprivate var condition: String {
            let receives =
                "(m.enabledforincomingemail OR m.testemailconfigurationscheduled) AND coalesce(m.incomingemaildeliverymethod, 2) IN (2, 3)"
            let sends =
                "(m.enabledforoutgoingemail OR m.testemailconfigurationscheduled) AND coalesce(m.outgoingemaildeliverymethod, 2) = 2"
            let use =
                switch self {
                case .reporting: "true"
                case .delivering, .signingIn(.incoming): receives
                case .taking, .handingOver, .signingIn(.outgoing): sends
                }
            return "m.statecode = 0 AND (\(use))"
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
        level: AlertLevel,
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
            """, [.uuid(id), .int32(Int32(code)), .int32(Int32(level.rawValue)), .text(text), .text(details)])
        guard repeated.isEmpty else { return }
        let draft = RecordDraft(
            .traceLog, id: .timeOrdered(),
            [
                "regardingobjectid": .id(id), "regardingobjecttypecode": .text(entity.logicalName),
                "level": .int(Int64(level.rawValue)),
                "tracecode": .int(Int64(code)), "text": .text(String(text.prefix(2_000))),
                "errordetails": .text(String(details.prefix(2_000))),
                "tracestatus": .bool(level == .information),
            ],
            origin: .init(
                organization: organization, user: caller.systemUserID ?? organization.id,
                businessUnit: callersUnit ?? organization.id))
        try draft.insert(into: organization, on: connection)
    }
}
