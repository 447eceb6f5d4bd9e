import Foundation
import Model
import PostgresClient
import Records
package import Tenancy

extension Session {
    /// Returns hourly numbers of the last day's e-mails that the caller may read: received first, sent second. Returns nil for
    /// a caller without the right to read e-mails.
    package func recentMail() async throws -> HourlyCounts? {
        try await recent(
            .email, "createdon", isSecond: "directioncode"
        ) { _ in "statuscode IN \(Set([EmailStatus.sent, .received]).sql)" }
    }

    /// Returns hourly numbers of the last day's alerts that the caller may read and that are not solved: errors first, warnings
    /// second. Returns nil for a caller without the right to read alerts.
    package func recentAlerts() async throws -> HourlyCounts? {
        try await recent(.traceLog, "modifiedon", isSecond: "level = 2") { statement in
            "level IN (2, 3) AND NOT \(isSolved(&statement))"
        }
    }

    /// The condition for an alert `r` about the state of a mailbox that has worked since the alert. The condition is false if the
    /// caller may not read the mailbox.
    private func isSolved(_ statement: inout StatementBuilder) -> String {
        let depth = caller.depth(of: .retrieveMultiple, on: .mailbox)
        guard depth != .none else { return "false" }
        let access = AccessRule(.mailbox, organization, caller).condition(depth, .read, "m") { statement.bind($0) }
        let (success, failure) = (MailOutcome.success.sql, MailOutcome.failure.sql)
        let states = MailboxAlerts.ofStates.sorted().map { "\($0)" }.joined(separator: ", ")
        return """
            (r.tracecode IN (\(states)) AND EXISTS (
                SELECT FROM \(organization.qualified("mailbox")) AS m
                 WHERE m.mailboxid = r.regardingobjectid AND \(access ?? "true")
                   AND m.statecode = \(RecordState.active.sql) AND m.testemailconfigurationscheduled IS NOT TRUE
                   AND (m.emailserverprofile IS NULL OR m.emailrouteraccessapproval = \(RouterApproval.approved.sql))
                   AND m.incomingemailstatus IS DISTINCT FROM \(failure) AND m.outgoingemailstatus IS DISTINCT FROM \(failure)
                   AND (m.incomingemailstatus = \(success) OR m.outgoingemailstatus = \(success))
                   AND m.lastsyncerror IS NULL AND m.lastsuccessfulsynccompletedon > r.modifiedon))
            """
    }

    /// Returns the number of e-mails of the last seven days that the caller may read and that could not be sent. Returns nil for
    /// a caller without the right to read e-mails.
    package func recentFailures() async throws -> Int? {
        let depth = caller.depth(of: .retrieveMultiple, on: .email)
        guard depth != .none else { return nil }
        var statement = StatementBuilder(organization, caller)
        let access = AccessRule(.email, organization, caller).condition(depth, .read, "r") { statement.bind($0) }
        let sql = """
            SELECT count(*)::integer FROM (
                SELECT FROM \(organization.qualified("email")) AS r
                 WHERE r.statuscode = \(EmailStatus.failed.sql) AND r.createdon >= now() - interval '7 days' AND \(access ?? "true")
                 LIMIT \(HourlyCounts.countedRows)) AS failed
            """
        let parameters = statement.parameters
        return try await deployment.pool.withConnection { try $0.query(sql, parameters)[0].decode(0, as: Int.self) }
    }

    private func recent(
        _ entity: EntityDefinition, _ date: String, isSecond: String, where condition: (inout StatementBuilder) -> String
    ) async throws -> HourlyCounts? {
        let depth = caller.depth(of: .retrieveMultiple, on: entity)
        guard depth != .none else { return nil }
        var statement = StatementBuilder(organization, caller)
        let access = AccessRule(entity, organization, caller).condition(depth, .read, "r") { statement.bind($0) }
        let condition = condition(&statement)
        let rows = """
            SELECT r.\(date) AS moment, r.* FROM \(organization.qualified(entity.logicalName)) AS r
             WHERE r.\(date) >= \(HourlyCounts.start) AND \(access ?? "true") LIMIT \(HourlyCounts.countedRows)
            """
        return try await HourlyCounts.read(
            "SELECT coalesce(\(isSecond), false), moment FROM (\(rows)) AS r WHERE \(condition)", statement.parameters,
            in: deployment)
    }
}
