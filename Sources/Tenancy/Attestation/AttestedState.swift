package import CellCrypto
package import Foundation
import JSON
package import PostgresClient

/// The last state of an organization that this service wrote, in `config.attested_state`. The state names the key in force, and has
/// a digest of the rows that grant access and the end of the event chain. One tag under the key-encryption key covers the whole
/// state.
package struct AttestedState: Sendable, Equatable {
    let organizationID: UUID
    /// Grows with every change of the key or the grants. An event alone does not change the revision.
    package var revision: Int
    package var keyVersion: Int
    package var fingerprint: String
    /// SHA-256 of the list of grants.
    var grantsDigest: [UInt8]
    /// The number of security events.
    var events: Int
    /// The newest event's number; 0 if there is no event.
    var newestEvent: Int
    /// The newest event's hash; empty if there is no event.
    var head: [UInt8]
    var kekID: String
    private(set) var tag: [UInt8] = []

    /// The columns of `config.attested_state AS a` that ``init(_:at:)`` reads.
    static let columns = """
        a.organization_id, a.revision, a.key_version, a.fingerprint, a.grants_digest, a.events, a.newest_event, a.head, a.kek_id, \
        a.tag
        """
    static let columnCount = 10

    /// - Parameter first: The index of the first of ``columns`` in a result.
    init(_ row: PostgresRow, at first: Int) throws {
        func bytes(_ column: Int) throws -> [UInt8] { try row.decode(first + column, as: PostgresBytes.self).bytes }
        organizationID = try row.decode(first)
        revision = try row.decode(first + 1)
        keyVersion = try row.decode(first + 2)
        fingerprint = try row.decode(first + 3)
        grantsDigest = try bytes(4)
        events = try row.decode(first + 5)
        newestEvent = try row.decode(first + 6)
        head = try bytes(7)
        kekID = try row.decode(first + 8)
        tag = try bytes(9)
    }

    package init(
        organizationID: UUID, revision: Int, keyVersion: Int, fingerprint: String, grantsDigest: [UInt8], events: Int,
        newestEvent: Int, head: [UInt8], kekID: String, tag: [UInt8] = []
    ) {
        self.organizationID = organizationID
        self.revision = revision
        self.keyVersion = keyVersion
        self.fingerprint = fingerprint
        self.grantsDigest = grantsDigest
        self.events = events
        self.newestEvent = newestEvent
        self.head = head
        self.kekID = kekID
        self.tag = tag
    }

    /// Everything that the tag covers. Add a new column to this list, to ``columns`` and to ``assignments``.
    private var fields: [[UInt8]] {
        [
            organizationID.bytes, Grant.field("\(revision)"), Grant.field("\(keyVersion)"), Grant.field(fingerprint), grantsDigest,
            Grant.field("\(events)"), Grant.field("\(newestEvent)"), head, Grant.field(kekID),
        ]
    }

    private func expectedTag(under kek: KeyEncryptionKey) throws -> [UInt8] {
        try kek.tag(label: "attested_state", over: fields)
    }

    /// - Throws: ``AttestationProblem`` if `kek` does not have the key-encryption key that the row names, or the row's tag does not
    /// match.
    func verify(under kek: KeyEncryptionKey) throws {
        guard let kek = kek.member(kekID) else {
            // SQL may have written another key's id into the row. If the tag was made under a key that this program has, SQL wrote
            // the id.
            throw try kek.each.contains(where: isSigned) ? AttestationProblem.forged : .otherKeyEncryptionKey(kekID)
        }
        guard constantTimeEqual(tag, try expectedTag(under: kek)) else { throw AttestationProblem.forged }
    }

    /// Whether the tag was made under this key-encryption key. The row may name another key-encryption key.
    func isSigned(by kek: KeyEncryptionKey) throws -> Bool {
        var state = self
        state.kekID = kek.id
        return constantTimeEqual(tag, try state.expectedTag(under: kek))
    }

    /// Computes the tag again.
    package mutating func sign(under kek: KeyEncryptionKey) throws { tag = try expectedTag(under: kek) }

    /// The columns to write, each with its value.
    var assignments: [(column: String, value: PostgresParameter)] {
        [
            ("revision", .int64(Int64(revision))), ("key_version", .int32(Int32(keyVersion))), ("fingerprint", .text(fingerprint)),
            ("grants_digest", .bytes(grantsDigest)), ("events", .int64(Int64(events))),
            ("newest_event", .int64(Int64(newestEvent))),
            ("head", .bytes(head)), ("kek_id", .text(kekID)), ("tag", .bytes(tag)),
        ]
    }

    /// Writes the row, which must be locked and still have the tag that was read.
    ///
    /// - Parameter grants: The list of grants to write; nil if it was not changed.
    func update(from former: [UInt8], grants: GrantList?, on connection: isolated PostgresConnection) throws {
        let all = assignments + (grants.map { [("grants", .bytes($0.bytes))] } ?? [])
        let list = all.enumerated().map { "\($1.column) = $\($0 + 3)" }.joined(separator: ", ")
        let result = try connection.query(
            "UPDATE config.attested_state SET \(list) WHERE organization_id = $1 AND tag = $2",
            [.uuid(organizationID), .bytes(former)] + all.map(\.value))
        // If `AttestedChange` was nested, the inner change has already written the row. The outer change must not overwrite the
        // row.
        guard result.affectedRows == 1 else { throw AttestationProblem.otherHistory }
    }

    /// Inserts or replaces the row when an organization joins this deployment. Runs as the database owner.
    package func insert(grants: GrantList, on connection: isolated PostgresConnection) throws {
        let all = [("organization_id", .uuid(organizationID))] + assignments + [("grants", PostgresParameter.bytes(grants.bytes))]
        let names = all.map(\.0)
        _ = try connection.query(
            """
            INSERT INTO config.attested_state (\(names.joined(separator: ", ")))
            VALUES (\(names.indices.map { "$\($0 + 1)" }.joined(separator: ", ")))
            ON CONFLICT (organization_id) DO UPDATE
                SET \(names.dropFirst().map { "\($0) = excluded.\($0)" }.joined(separator: ", "))
            """, all.map(\.1))
    }

    private static let eraShift = 20

    /// The time at which the organization was created or last attached, in seconds since 1970. Revisions within one era are
    /// consecutive.
    var era: Int { Self.era(of: revision) }

    /// The era of a revision.
    static func era(of revision: Int) -> Int { revision >> eraShift }

    /// The first revision of a new era, which no server has seen yet. The revision is made from the seconds since 1970, with room
    /// for a million changes per second.
    package static func freshRevision(after known: Int?) -> Int {
        max(Int(Date().timeIntervalSince1970) << eraShift, (known ?? 0) + 1)
    }
}
