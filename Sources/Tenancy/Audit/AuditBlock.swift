import CellCrypto
import Foundation
import JSON
import PostgresClient

/// A row of `audit_block`: a list of entries, and a digest over them and the previous block's digest.
struct AuditBlock {
    let number: Int
    let sealedOn: PostgresMoment
    /// The transactions whose entries are all sealed in this block or earlier blocks (see ``AuditSnapshot``); nil if the block
    /// records none.
    let snapshot: String?
    /// For each entry, the 16 bytes of its id and the 32 bytes of its digest, sorted.
    let members: [UInt8]
    let digest: [UInt8]

    /// The length in bytes of a member, and of the id in it.
    static let memberLength = 48
    static let idLength = 16

    var entries: Int { members.count / Self.memberLength }

    /// Seals entries in a new block. `previous` is the digest of the block before it; nil for an organization's first block.
    init(_ number: Int, _ entries: [AuditEntry], at moment: PostgresMoment, _ snapshot: String?, after previous: [UInt8]?) throws {
        self.number = number
        sealedOn = moment
        self.snapshot = snapshot
        members = entries.map(\.member).sorted { $0.lexicographicallyPrecedes($1) }.flatMap(\.self)
        digest = try Self.digest(number, moment, snapshot, members, after: previous)
    }

    /// The columns of `audit_block` that ``init(_:)`` reads.
    static let columns = """
        number, sealed_on, snapshot, digest, \
        CASE WHEN octet_length(members) <= \(AuditSealer.limit * memberLength) THEN members ELSE ''::bytea END
        """

    init(_ row: PostgresRow) throws {
        number = try row.decode(0)
        sealedOn = try row.decode(1)
        snapshot = try row.decodeIfPresent(2)
        digest = try row.decode(3, as: PostgresBytes.self).bytes
        // If SQL wrote a list of more than `AuditSealer.limit` entries, `columns` returns an empty list. The service seals no such
        // list.
        members = try row.decode(4, as: PostgresBytes.self).bytes
    }

    private static func digest(
        _ number: Int, _ sealedOn: PostgresMoment, _ snapshot: String?, _ members: [UInt8], after previous: [UInt8]?
    ) throws -> [UInt8] {
        try sha256((previous ?? []) + EventHash.array(of: [.whole(number), sealedOn.canonical, .text(snapshot)]) + members)
    }

    /// Whether the block's digest is right, given the digest of the block before it.
    func follows(_ previous: [UInt8]?) throws -> Bool {
        try constantTimeEqual(digest, Self.digest(number, sealedOn, snapshot, members, after: previous))
    }

    /// The digests of the block's entries, by the entries' ids.
    var digests: [UUID: [UInt8]] {
        var digests: [UUID: [UInt8]] = [:]
        for start in stride(from: 0, to: entries * Self.memberLength, by: Self.memberLength) {
            let member = members[start..<start + Self.memberLength]
            let id = member.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
            digests[id] = Array(member.dropFirst(Self.idLength))
        }
        return digests
    }

    /// The statement that inserts the block.
    func insertion(into table: String) -> (sql: String, parameters: [PostgresParameter]) {
        (
            "INSERT INTO \(table) (number, sealed_on, entries, members, snapshot, digest) VALUES ($1, $2, $3, $4, $5, $6)",
            [
                .int64(Int64(number)), .moment(sealedOn), .int32(Int32(entries)), .bytes(members), .text(snapshot), .bytes(digest),
            ]
        )
    }
}
