import Foundation
import Model
import PostgresClient
import Records
package import Tenancy

extension Session {
    /// How many rows are counted for each figure at most, because an overview must not read a million.
    private static let countedRows = 100_000

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
             WHERE r.\(date) >= \(Self.start) AND \(access ?? "true") LIMIT \(Self.countedRows)
            """
        return try await hourly(
            "SELECT coalesce(\(isSecond), false), moment FROM (\(rows)) AS r WHERE \(condition)", statement.parameters)
    }

    /// Security events of the last day, for System Administrators: released passwords first, refused sign-ins second.
    package func recentEvents() async throws -> HourlyCounts {
        try requireSystemAdministrator(to: "read the statistics")
        var statement = StatementBuilder(organization, caller)
        func counted(_ kind: SecurityEvent.Kind, _ outcome: SecurityEvent.Outcome, isSecond: Bool) -> String {
            """
            SELECT \(isSecond), occurred_on FROM (SELECT occurred_on, outcome FROM \(organization.qualified("security_event"))
                WHERE \(EventsOfKind.condition(statement.bind(.text(kind.rawValue)))) \(EventsOfKind.newestFirst) LIMIT \(Self.countedRows)) AS e
             WHERE e.outcome = \(statement.bind(.text(outcome.rawValue))) AND e.occurred_on >= \(Self.start)
            """
        }
        let sql =
            "\(counted(.credentialReleased, .succeeded, isSecond: false)) UNION ALL \(counted(.signedIn, .refused, isSecond: true))"
        return try await hourly(sql, statement.parameters)
    }

    private static let start = "date_trunc('hour', now()) - interval '\(HourlyCounts.hours - 1) hours'"

    /// Counts rows of (whether it is of the second kind, time) by hour.
    private func hourly(_ rows: String, _ parameters: [PostgresParameter]) async throws -> HourlyCounts {
        let sql = """
            SELECT is_second, (extract(epoch FROM date_trunc('hour', now()) - date_trunc('hour', moment)) / 3600)::integer AS age,
                   count(*)::integer AS number
              FROM (\(rows)) AS figures (is_second, moment) WHERE isfinite(moment) GROUP BY 1, 2
            """
        return try await deployment.pool.withConnection { connection in
            var counts = HourlyCounts()
            for row in try connection.query(sql, parameters) {
                let hour = HourlyCounts.hours - 1 - (try row.decode("age", as: Int.self))
                guard counts.first.indices.contains(hour) else { continue }
                if try row.decode("is_second", as: Bool.self) {
                    counts.second[hour] = try row.decode("number")
                } else {
                    counts.first[hour] = try row.decode("number")
                }
            }
            return counts
        }
    }

    /// How many values of each encrypted attribute there are, by the flags of their records.
    package func sealedValues() async throws -> [SealedValues] {
        try requireSystemAdministrator(to: "read the statistics")
        return try await deployment.pool.withConnection { connection in
            var all: [SealedValues] = []
            for entity in EntityCatalog.withCells {
                let flags = entity.isSetColumns.sorted { $0.key < $1.key }
                let counts = flags.map { "(count(*) FILTER (WHERE \(quoteIdentifier($0.value))))::integer AS \($0.value)" }.joined(
                    separator: ", ")
                let rows = try connection.query(
                    "SELECT count(*)::integer AS records, \(counts) FROM \(organization.qualified(entity.logicalName))", [])
                for flag in flags {
                    guard let attribute = entity[flag.key] else { continue }
                    all.append(
                        SealedValues(
                            entity: entity, attribute: attribute, records: try rows[0].decode("records"),
                            values: try rows[0].decode(flag.value)))
                }
            }
            return all
        }
    }
}
