import Foundation
import Model
import PostgresClient
import Records
import Tenancy

/// Counts of the last 24 hours by hour, the oldest first. The last hour is the current one.
package struct HourlyCounts: Sendable {
    /// Hours that are counted.
    package static let hours = 24

    package var first = [Int](repeating: 0, count: hours)
    package var second = [Int](repeating: 0, count: hours)

    /// How many rows are counted for each figure at most, because an overview must not read a million rows.
    static let countedRows = 100_000
    /// SQL for the start of the first hour.
    static let start = "date_trunc('hour', now()) - interval '\(hours - 1) hours'"

    /// Counts rows by hour. `rows` selects two columns: whether the row counts for the second figure, and its time.
    static func read(_ rows: String, _ parameters: [PostgresParameter], in deployment: Deployment) async throws -> HourlyCounts {
        let sql = """
            SELECT is_second, (extract(epoch FROM date_trunc('hour', now()) - date_trunc('hour', moment)) / 3600)::integer AS age,
                   count(*)::integer AS number
              FROM (\(rows)) AS figures (is_second, moment)
             WHERE moment >= \(start) AND moment < date_trunc('hour', now()) + interval '1 hour' GROUP BY 1, 2
            """
        return try await deployment.pool.withConnection { connection in
            var counts = HourlyCounts()
            for row in try connection.query(sql, parameters) {
                let hour = hours - 1 - (try row.decode("age", as: Int.self))
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
}
