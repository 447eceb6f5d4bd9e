import Foundation
public import Model
import PostgresClient
import Records
public import Tenancy

/// How an organization has been doing in the last hours, for its overview.
public struct OrganizationStatistics: Sendable {
    /// Hours that are counted.
    public static let hours = 24

    /// Counts by hour, the oldest first. The last one is the hour that is running.
    public var received = [Int](repeating: 0, count: hours)
    public var sent = [Int](repeating: 0, count: hours)
    public var released = [Int](repeating: 0, count: hours)
    public var refusedSignIns = [Int](repeating: 0, count: hours)
}

/// How many encrypted values an attribute has.
public struct SealedValues: Sendable {
    public let entity: EntityDefinition
    public let attribute: AttributeDefinition
    public let records: Int
    public let values: Int
}

extension Session {
    /// Rows that are counted for each figure at most: an overview must not read a million.
    private static let countedRows = 100_000

    /// The figures of the last day, over everybody's mail and events: for System Administrators.
    public func statistics() async throws -> OrganizationStatistics {
        try requireSystemAdministrator(to: "read the statistics")
        let events = organization.qualified("security_event")
        var statement = StatementBuilder(organization, caller)
        func counted(_ kind: SecurityEvent.Kind, _ outcome: SecurityEvent.Outcome, _ figure: Int) -> String {
            """
            SELECT \(figure), occurred_on FROM (SELECT occurred_on, outcome FROM \(events)
                WHERE kind = \(statement.bind(.text(kind.rawValue))) ORDER BY security_event_id DESC LIMIT \(Self.countedRows)) AS e
             WHERE e.outcome = \(statement.bind(.text(outcome.rawValue))) AND e.occurred_on >= date_trunc('hour', now()) - interval '\(OrganizationStatistics.hours - 1) hours'
            """
        }
        let emails = organization.qualified("email")
        let sql = """
            SELECT figure, (extract(epoch FROM date_trunc('hour', now()) - date_trunc('hour', moment)) / 3600)::integer, count(*)::integer FROM (
                \(counted(.credentialReleased, .succeeded, 2)) UNION ALL \(counted(.signedIn, .refused, 3)) UNION ALL
                SELECT CASE WHEN directioncode THEN 1 ELSE 0 END, createdon FROM (SELECT directioncode, createdon, statuscode FROM \(emails)
                    WHERE createdon >= date_trunc('hour', now()) - interval '\(OrganizationStatistics.hours - 1) hours' LIMIT \(Self.countedRows)) AS m
                 WHERE m.statuscode IN (3, 4)) AS figures (figure, moment)
             GROUP BY 1, 2
            """
        let parameters = statement.parameters
        return try await deployment.pool.withConnection { connection in
            var statistics = OrganizationStatistics()
            for row in try connection.query(sql, parameters) {
                let hour = OrganizationStatistics.hours - 1 - (try row.decode(1, as: Int.self))
                guard statistics.received.indices.contains(hour) else { continue }
                let count: Int = try row.decode(2)
                switch try row.decode(0, as: Int.self) {
                case 0: statistics.received[hour] = count
                case 1: statistics.sent[hour] = count
                case 2: statistics.released[hour] = count
                default: statistics.refusedSignIns[hour] = count
                }
            }
            return statistics
        }
    }

    /// How many values of each encrypted attribute there are, by the flags of their records.
    public func sealedValues() async throws -> [SealedValues] {
        try requireSystemAdministrator(to: "read the statistics")
        return try await deployment.pool.withConnection { connection in
            var all: [SealedValues] = []
            for entity in EntityCatalog.withCells {
                let flags = entity.setFlags.sorted { $0.key < $1.key }
                let counts = flags.map { "(count(*) FILTER (WHERE \(quoteIdentifier($0.value))))::integer" }.joined(separator: ", ")
                let rows = try connection.query(
                    "SELECT count(*)::integer, \(counts) FROM \(organization.qualified(entity.logicalName))", [])
                for (index, flag) in flags.enumerated() {
                    guard let attribute = entity[flag.key] else { continue }
                    all.append(
                        SealedValues(
                            entity: entity, attribute: attribute, records: try rows[0].decode(0),
                            values: try rows[0].decode(index + 1)))
                }
            }
            return all
        }
    }
}
