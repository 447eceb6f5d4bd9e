import Foundation
import JSON
import Model
import PostgresClient
import Records
import RouterProtocol
import Tenancy

// Functions that the router's operations and the delivery of e-mails share.
extension Session {
    /// Runs `body` in a transaction with cached plans that use indexes.
    ///
    /// Planning takes longer than most of these statements, so a connection keeps its plans. A plan that was made for an empty
    /// table would scan the whole table until it is analyzed, so sequential scans are off. A sequential scan that remains has a
    /// high cost, which must not start JIT compilation, so `jit` is off too.
    func planned<Result>(on connection: isolated PostgresConnection, _ body: () throws -> Result) throws -> Result {
        try connection.transaction {
            try connection.execute(
                "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
            try confirm(on: connection)
            return try body()
        }
    }

    /// The purpose for which a lease is checked. Every purpose except a report requires that the mailbox is enabled and approved.
    enum LeaseUse {
        case reporting, delivering, taking, handingOver
        case signingIn(MailDirection)

        /// The condition that the mailbox is enabled for this purpose. During a test, the mailbox counts as enabled for each
        /// direction that has a delivery method.
        fileprivate var condition: String {
            let receives =
                "(m.enabledforincomingemail OR m.testemailconfigurationscheduled) AND \(DueMailboxes.usesIncoming)"
            let sends =
                "(m.enabledforoutgoingemail OR m.testemailconfigurationscheduled) AND \(DueMailboxes.usesOutgoing)"
            let use =
                switch self {
                case .reporting: "true"
                case .delivering, .signingIn(.incoming): receives
                case .taking, .handingOver, .signingIn(.outgoing): sends
                }
            return "m.statecode = \(RecordState.active.sql) AND (\(use))"
        }
    }

    /// Renews a lease. Checks that the caller still has the lease, and that the mailbox may still be used.
    ///
    /// - Throws: ``FieldsealError`` `.concurrencyVersionMismatch` when another router has the mailbox, or it was disabled or is no
    ///   longer approved. `.profileInactive` when mail or a credential is requested for an address that is not approved.
    func renewLease(_ mailbox: UUID, _ host: String, for use: LeaseUse, on connection: isolated PostgresConnection) throws {
        let table = organization.qualified("mailbox")
        let condition =
            "WHERE m.mailboxid = $1 AND m.hostid = $2 AND m.processingstatecode = \(ProcessingState.leased.sql)"
        let facts = """
            coalesce(\(use.condition) AND coalesce((SELECT p.statecode = \(RecordState.active.sql) FROM \(organization.qualified("emailserverprofile")) AS p
                WHERE p.emailserverprofileid = m.emailserverprofile), true), false) AS is_enabled,
            coalesce(m.emailrouteraccessapproval = \(RouterApproval.approved.sql), false) AS is_approved,
            coalesce(m.emailaddress, '') AS address
            """
        func held(_ sql: String) throws -> PostgresRow? { try connection.query(sql, [.uuid(mailbox), .text(host)]).first }
        // A recent lease is not written again: no other router may take it over yet, and the write would cost time.
        let young = try held(
            "SELECT \(facts) FROM \(table) AS m \(condition) AND m.processinglastattemptedon > now() - interval '15 seconds' FOR SHARE"
        )
        guard
            let row = try young
                ?? held("UPDATE \(table) AS m SET processinglastattemptedon = now() \(condition) RETURNING \(facts)")
        else {
            throw FieldsealError(
                .concurrencyVersionMismatch,
                "This mailbox is no longer leased to this router. Stop the work on it, and lease another mailbox.")
        }
        if case .reporting = use { return }
        let isEnabled: Bool = try row.decode("is_enabled")
        let isApproved: Bool = try row.decode("is_approved")
        switch use {
        case .taking where isEnabled && !isApproved, .signingIn where isEnabled && !isApproved:
            let address = try row.decode("address", as: String.self).quotedForMessage
            throw FieldsealError(
                .profileInactive, "The address \(address) is not approved: an administrator sets emailrouteraccessapproval to 1.")
        default: break
        }
        guard isEnabled, isApproved else {
            throw FieldsealError(
                .concurrencyVersionMismatch,
                "This mailbox was disabled, or lost its approval, since it was leased. Stop the work on it, and lease another "
                    + "mailbox.")
        }
    }

    /// Writes an alert. If the record's newest alert has the same code, level and text, updates that alert instead.
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
            UPDATE \(organization.qualified("tracelog")) SET modifiedon = now(), errordetails = left($5, 2048),
                   versionnumber = nextval('\(organization.qualified("version_number"))')
             WHERE tracelogid = (SELECT tracelogid FROM \(organization.qualified("tracelog")) WHERE regardingobjectid = $1
                ORDER BY createdon DESC LIMIT 1) AND tracecode = $2 AND level = $3 AND text = left($4, 2000) RETURNING 1
            """, [.uuid(id), .int32(Int32(code)), .int32(Int32(level.rawValue)), .text(text), .text(details)])
        guard repeated.isEmpty else { return }
        let draft = NewRecord(
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
        try draft.insert(into: organization, by: caller, on: connection)
    }
}
