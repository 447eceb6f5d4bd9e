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
            .email, "createdon", isSecond: "directioncode", where: "statuscode IN \(Set([EmailStatus.sent, .received]).sql)")
    }

    /// Returns hourly numbers of the last day's alerts that the caller may read: errors first, warnings second. Returns nil for
    /// a caller without the right to read alerts.
    package func recentAlerts() async throws -> HourlyCounts? {
        try await recent(.traceLog, "modifiedon", isSecond: "level = 2", where: "level IN (2, 3)")
    }

    private func recent(_ entity: EntityDefinition, _ date: String, isSecond: String, where condition: String) async throws
        -> HourlyCounts?
    {
        let depth = caller.depth(of: .retrieveMultiple, on: entity)
        guard depth != .none else { return nil }
        var statement = StatementBuilder(organization, caller)
        let access = AccessRule(entity, organization, caller).condition(depth, .read, "r") { statement.bind($0) }
        let rows = """
            SELECT r.\(date) AS moment, r.* FROM \(organization.qualified(entity.logicalName)) AS r
             WHERE r.\(date) >= \(HourlyCounts.start) AND \(access ?? "true") LIMIT \(HourlyCounts.countedRows)
            """
        return try await HourlyCounts.read(
            "SELECT coalesce(\(isSecond), false), moment FROM (\(rows)) AS r WHERE \(condition)", statement.parameters,
            in: deployment)
    }
}
