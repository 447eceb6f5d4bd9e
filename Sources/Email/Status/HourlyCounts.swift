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
}
