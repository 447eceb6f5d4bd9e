import Foundation
import Model
import PostgresClient
import Records
package import Tenancy

/// The statistics of the organization that only a System Administrator may read.
///
/// The initializer checks the caller's role, so the methods do not check it again.
package struct StatisticsReading: Sendable {
    private let session: Session

    private var organization: Organization { session.organization }
    private var deployment: Deployment { session.deployment }

    /// Checks that the caller is a System Administrator.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a caller that acts for another user.
    package init(_ session: Session) throws {
        try session.requireSystemAdministrator(to: "read the statistics")
        self.session = session
    }

    /// Security events of the last day: released passwords first, refused sign-ins second.
    package func recentEvents() async throws -> HourlyCounts {
        var statement = StatementBuilder(organization, session.caller)
        func counted(_ kind: SecurityEvent.Kind, _ outcome: SecurityEvent.Outcome, isSecond: Bool) -> String {
            """
            SELECT \(isSecond), occurred_on FROM (SELECT occurred_on, outcome FROM \(organization.qualified("security_event"))
                WHERE \(EventsOfKind.condition(statement.bind(.text(kind.rawValue)))) \(EventsOfKind.newestFirst) LIMIT \(HourlyCounts.countedRows)) AS e
             WHERE e.outcome = \(statement.bind(.text(outcome.rawValue))) AND e.occurred_on >= \(HourlyCounts.start)
            """
        }
        let sql =
            "\(counted(.credentialReleased, .succeeded, isSecond: false)) UNION ALL \(counted(.signedIn, .refused, isSecond: true))"
        return try await HourlyCounts.read(sql, statement.parameters, in: deployment)
    }

    /// How many values of each encrypted attribute there are, by the flags of their records.
    package func sealedValues() async throws -> [SealedValues] {
        try await deployment.pool.withConnection { connection in
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
