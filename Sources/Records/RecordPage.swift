import Foundation
import Model
import PostgresClient

/// A page of a query's result, with expanded records.
package struct RecordPage: Sendable {
    package let shape: RowShape
    package let records: [Record]
    /// The token of the next page; nil on the last one.
    package let next: RecordQuery.PageToken?
    /// The number of rows of all pages, if it was requested.
    package internal(set) var count: Int?
    package internal(set) var expanded: [ExpandedProperty] = []
}

extension RecordPage {
    /// How many records the page has, with its expanded records.
    package var recordCount: Int {
        records.count
            + expanded.reduce(0) { $0 + $1.page.recordCount + $1.alternatives.reduce(0) { $0 + $1.page.recordCount } }
    }
}
