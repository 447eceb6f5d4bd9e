public import Foundation
import PostgresClient

/// How a mailbox that a router works for is.
public struct MailboxStatus: Sendable {
    public let id: UUID
    public let name: String
    public let address: String
    public let receives: Bool
    public let sends: Bool
    /// 0 not run, 1 success, 2 failure.
    public let incomingStatus: Int
    public let outgoingStatus: Int
    public let leasedTo: String?
    public let lastSync: Date?
    public let nextTurn: Date?
    /// E-mails that wait to be sent, and that were not.
    public let pending: Int
    public let failed: Int
    public let error: String?
}

extension Session {
    /// The mailboxes that a router works for or stopped working for, by name.
    public func mailboxStatuses() async throws -> [MailboxStatus] {
        try requireSystemAdministrator()
        return try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT m.mailboxid, coalesce(m.name, ''), coalesce(m.emailaddress, ''), coalesce(m.enabledforincomingemail, false),
                       coalesce(m.enabledforoutgoingemail, false), coalesce(m.incomingemailstatus, 0), coalesce(m.outgoingemailstatus, 0),
                       CASE WHEN m.processingstatecode = 1 THEN m.hostid END, m.lastsuccessfulsynccompletedon, m.postponemailboxprocessinguntil,
                       (SELECT count(*) FROM \(organization.qualified("email")) AS e WHERE e.sendermailboxid = m.mailboxid AND e.statuscode IN (6, 7)),
                       (SELECT count(*) FROM \(organization.qualified("email")) AS e WHERE e.sendermailboxid = m.mailboxid AND e.statuscode = 8),
                       m.lastsyncerror
                  FROM \(organization.qualified("mailbox")) AS m
                 WHERE m.statecode = 0 AND (m.enabledforincomingemail OR m.enabledforoutgoingemail OR m.testemailconfigurationscheduled
                    OR m.incomingemailstatus <> 0 OR m.outgoingemailstatus <> 0)
                 ORDER BY m.name
                """
            ).map { row in
                MailboxStatus(
                    id: try row.decode(0), name: try row.decode(1), address: try row.decode(2), receives: try row.decode(3),
                    sends: try row.decode(4), incomingStatus: try row.decode(5), outgoingStatus: try row.decode(6),
                    leasedTo: try row.decodeIfPresent(7), lastSync: try row.decodeIfPresent(8),
                    nextTurn: try row.decodeIfPresent(9),
                    pending: try row.decode(10), failed: try row.decode(11), error: try row.decodeIfPresent(12))
            }
        }
    }
}
