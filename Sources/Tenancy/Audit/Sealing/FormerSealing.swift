import PostgresClient

/// The newest block, after which new blocks begin. The initializer verifies that the event chain records this block.
struct FormerSealing {
    /// The newest block and its digest; 0 and nil while nothing was sealed.
    let last: Int
    let digest: [UInt8]?
    /// When the newest block was sealed; nil if there is no block, or all blocks were archived.
    let sealedOn: PostgresMoment?
    /// The transactions that had ended when the newest block was sealed; nil if transaction numbers can't be compared, as after a
    /// move to another cluster.
    let snapshot: AuditSnapshot?

    /// - Throws: ``EventChainProblem`` if the newest block is not the recorded one.
    init(
        _ known: AttestedAnchor, of organization: Organization, at present: AuditSnapshot, _ now: PostgresMoment,
        on connection: isolated PostgresConnection
    ) throws {
        let anchor = known.anchor
        (last, digest) = (anchor?.last ?? 0, anchor?.digest)
        let block = try Self.newestBlock(after: anchor, of: organization, on: connection)
        sealedOn = block?.sealedOn
        let text = block == nil ? anchor?.snapshot : block?.snapshot
        let snapshot = known.hasArrived ? nil : text.flatMap { AuditSnapshot($0, at: block?.sealedOn ?? now) }
        self.snapshot = snapshot.flatMap { present.isLater(than: $0) ? $0 : nil }
    }

    /// The newest block, verified; nil if there is none.
    private static func newestBlock(
        after anchor: AuditAnchor?, of organization: Organization, on connection: isolated PostgresConnection
    ) throws -> AuditBlock? {
        let table = organization.qualified("audit_block")
        let rows = try connection.query("SELECT \(AuditBlock.columns) FROM \(table) ORDER BY number DESC LIMIT 2")
        let (last, first) = (anchor?.last ?? 0, anchor?.first ?? 1)
        guard let block = try rows.first.map({ try AuditBlock($0) }) else {
            if first <= last { throw EventChainProblem("audit block \(last): it is missing") }
            return nil
        }
        guard block.number <= last else {
            throw EventChainProblem("audit block \(block.number): SQL wrote it, and the last one is \(last)")
        }
        guard block.number >= first else {
            throw EventChainProblem("audit block \(block.number): it was archived, and was put back")
        }
        guard block.number == last else { throw EventChainProblem("audit block \(last): it is missing") }
        let previous = try last == first ? anchor?.before : rows.dropFirst().first.map { try AuditBlock($0) }?.digest
        guard block.digest == anchor?.digest, try block.follows(previous) else {
            throw EventChainProblem("audit block \(last): it was changed, or another block was put in its place")
        }
        return block
    }
}
