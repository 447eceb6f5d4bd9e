import JSON
import PostgresClient

/// Reads the audit's blocks and their entries side by side, both in order, in the open transaction. Reports blocks and entries that
/// differ from what was sealed.
struct AuditWalk {
    /// How many blocks are read at a time.
    private static let pageLength = 50

    private let organization: Organization
    private let range: ClosedRange<Int>
    private let anchor: AuditAnchor
    private var rows: AuditRows
    /// The digest of the last block that was read, and the number that the next block must have.
    private var former: [UInt8]?
    private var next: Int
    /// The last block that was read, not counting blocks after the anchor's last.
    private(set) var last: AuditBlock?
    private(set) var report = AuditReport()

    /// - Parameters:
    ///   - start: The first block to read; nil for the first that exists.
    ///   - end: The last block to read; nil for the last that exists.
    init(
        _ organization: Organization, from start: Int?, through end: Int?, _ anchor: AuditAnchor,
        on connection: isolated PostgresConnection
    ) throws {
        self.organization = organization
        self.anchor = anchor
        range = (start ?? .min)...(end ?? .max)
        rows = try AuditRows(
            "sealed_audit", in: organization,
            "WHERE a.block BETWEEN '\(range.lowerBound)' AND '\(range.upperBound)' ORDER BY a.block, a.createdon, a.auditid",
            on: connection)
        next = start ?? anchor.first
        former = anchor.before
        if let start, start > anchor.first {
            former = try connection.query(
                "SELECT digest FROM \(organization.qualified("audit_block")) WHERE number = $1", [.int64(Int64(start - 1))]
            ).first?.decode(0, as: PostgresBytes.self).bytes
        }
    }

    mutating func run(on connection: isolated PostgresConnection) throws {
        var place = range.lowerBound
        while true {
            let page = try connection.query(
                """
                SELECT \(AuditBlock.columns) FROM \(organization.qualified("audit_block"))
                 WHERE number BETWEEN $1 AND $2 ORDER BY number LIMIT \(Self.pageLength)
                """, [.int64(Int64(place)), .int64(Int64(range.upperBound))]
            ).map { try AuditBlock($0) }
            for block in page {
                try passOver(before: block.number, on: connection)
                try look(at: block)
                try compare(block, on: connection)
            }
            guard page.count == Self.pageLength, let newest = page.last?.number, newest < .max else { break }
            place = newest + 1
        }
        try passOver(before: nil, on: connection)
        try rows.close(on: connection)
        addMissing(through: anchor.last)
    }

    /// Reports the block if it is archived, not recorded by an event, or changed, and reports blocks that are missing before it.
    private mutating func look(at block: AuditBlock) throws {
        report.blocks += 1
        if block.number < anchor.first {
            report.add("audit block \(block.number): it was archived, and was put back")
        } else if block.number > anchor.last {
            report.add("audit block \(block.number): SQL wrote it, and no security event records it")
        } else {
            addMissing(through: block.number - 1)
            if try !block.follows(former) {
                report.add("audit block \(block.number): it was changed, or replaced by another block")
            }
            (former, next, last) = (block.digest, block.number + 1, block)
        }
    }

    private mutating func addMissing(through end: Int) {
        guard next <= end else { return }
        report.add("audit block \(next): it is missing" + (next == end ? "" : ", and so are the blocks up to \(end)"))
    }

    /// Reports entries whose block does not exist.
    private mutating func passOver(before number: Int?, on connection: isolated PostgresConnection) throws {
        while let entry = try rows.next(on: connection), let block = entry.block, number.map({ block < $0 }) ?? true {
            report.add("audit block \(block): it does not exist, and the entry \(entry.id.text) names it")
            rows.pass()
        }
    }

    private mutating func compare(_ block: AuditBlock, on connection: isolated PostgresConnection) throws {
        var digests = block.digests
        while let entry = try rows.next(on: connection), entry.block == block.number {
            rows.pass()
            report.entries += 1
            switch digests.removeValue(forKey: entry.id) {
            case nil: report.add("audit block \(block.number): the entry \(entry.id.text) was added to it")
            case let digest where digest != entry.digest:
                report.add("audit block \(block.number): the entry \(entry.id.text) was changed")
            default: break
            }
        }
        for id in digests.keys.map(\.text).sorted() { report.add("audit block \(block.number): the entry \(id) was removed") }
    }
}
