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
    /// From this number of bytes on, writing the page takes so long that it would delay other clients.
    private static let longLength = 256 << 10

    /// Whether a response with this page takes long to write, so that another thread should write it.
    package var isLong: Bool { length > Self.longLength }

    /// The bytes that the page's rows take in memory. All records of a page are rows of one statement.
    private var length: Int {
        (records.first?.row.resultLength ?? 0)
            + expanded.reduce(0) { $0 + $1.page.length + $1.alternatives.reduce(0) { $0 + $1.page.length } }
    }

    /// How many records the page has, with its expanded records.
    package var recordCount: Int {
        records.count
            + expanded.reduce(0) { $0 + $1.page.recordCount + $1.alternatives.reduce(0) { $0 + $1.page.recordCount } }
    }
}
