import CellCrypto
import Foundation
import JSON
import PostgresClient

/// An entry of the audit, as a block seals it.
struct AuditEntry {
    let id: UUID
    let createdOn: PostgresMoment
    let transaction: String
    /// SHA-256 of all columns except the block.
    let digest: [UInt8]
    /// The block that lists the entry; nil if it is not sealed yet.
    let block: Int?

    /// The columns of `audit AS a` that ``init(_:)`` reads. Append new columns at the end. A new column is part of the digest
    /// only if it is set, so older digests stay valid.
    static let columns = """
        a.auditid, a.createdon, a.action, a.operation, a.objectid, a.objecttypecode, a.userid, a.useridname, a.attributemask, \
        a.changedata, a.transactionid, a.databaserole, a.versionnumber, a.callinguserid, a.block
        """

    init(_ row: PostgresRow) throws {
        func integer(_ column: Int) throws -> JSONValue { .integer(Int64(try row.decode(column, as: Int.self))) }
        func text(_ column: Int) throws -> JSONValue { .text(try row.decodeIfPresent(column)) }
        func id(_ column: Int) throws -> JSONValue { .text(try row.decodeIfPresent(column, as: UUID.self)?.text) }
        self.id = try row.decode(0)
        createdOn = try row.decode(1)
        transaction = try row.decode(10)
        block = try row.decodeIfPresent(14)
        digest = try EventHash.of(
            [
                id(0), createdOn.canonical, integer(2), integer(3), id(4), text(5), id(6), text(7), text(8), text(9), text(10),
                text(11), integer(12), id(13),
            ], after: nil)
    }

    /// The entry as a member of a block.
    var member: [UInt8] { id.bytes + digest }
}

extension PostgresMoment {
    /// Microseconds from 1970-01-01 to PostgreSQL's epoch.
    private static let epoch: Int64 = 946_684_800_000_000

    /// Microseconds since 1970-01-01 UTC; a text for infinity.
    var canonical: JSONValue {
        switch microseconds {
        case .max: .string("infinity")
        case .min: .string("-infinity")
        default: .integer(microseconds &+ Self.epoch)
        }
    }

    /// The day in UTC, counted from PostgreSQL's epoch.
    var day: Int64 { Int64((Double(microseconds) / 86_400e6).rounded(.down)) }
}
