package import CellCrypto
import PostgresClient

/// The attested list of an organization: for each row that grants power its name and the tag that it has.
package struct GrantList: Sendable, Equatable {
    /// 16 bytes of a digest or tag.
    package struct Digest: Sendable, Hashable, Comparable {
        package static let length = 16
        let high: UInt64
        let low: UInt64

        /// - Parameter bytes: Of which the first 16 count.
        init(_ bytes: some Collection<UInt8>) {
            func word(_ part: some Sequence<UInt8>) -> UInt64 { part.reduce(0) { $0 << 8 | UInt64($1) } }
            high = word(bytes.prefix(8))
            low = word(bytes.dropFirst(8).prefix(8))
        }

        package var bytes: [UInt8] {
            [high, low].flatMap { word in withUnsafeBytes(of: word.bigEndian) { Array($0) } }
        }

        package static func < (one: Digest, other: Digest) -> Bool { (one.high, one.low) < (other.high, other.low) }
    }

    /// What the list says of a row.
    package enum Standing: Sendable, Equatable {
        /// The row is as this service last wrote it.
        case honoured
        /// This service revoked it.
        case revoked
        /// This service wrote the row once, and something else for it since.
        case putBack
        /// The row's tag does not fit what it says.
        case foreign
    }

    package private(set) var entries: [Digest: Digest] = [:]

    package init() {}

    /// Reads what ``bytes`` wrote.
    ///
    /// - Returns: Nil for anything else.
    init?(_ bytes: [UInt8]) {
        let length = 2 * Digest.length
        guard bytes.count % length == 0 else { return nil }
        entries.reserveCapacity(bytes.count / length)
        for start in stride(from: 0, to: bytes.count, by: length) {
            entries[Digest(bytes[start..<start + Digest.length])] = Digest(bytes[(start + Digest.length)..<(start + length)])
        }
        guard entries.count == bytes.count / length else { return nil }
    }

    /// The list as the database keeps it, in the order of the names.
    package var bytes: [UInt8] { entries.sorted { $0.key < $1.key }.flatMap { $0.key.bytes + $0.value.bytes } }

    /// What the list says of a row with a stored tag.
    package func standing(of grant: Grant, tag: [UInt8], under kek: KeyEncryptionKey) throws -> Standing {
        let entry = entries[try grant.name.digest()]
        if let entry, try kek.each.contains(where: { entry == (try grant.name.revocation(under: $0)) }) { return .revoked }
        guard try grant.fits(tag, under: kek) else { return .foreign }
        return entry == Digest(tag) ? .honoured : .putBack
    }

    /// Whether a row is as this service last wrote it.
    package func honours(_ grant: Grant, tag: [UInt8], under kek: KeyEncryptionKey) throws -> Bool {
        try standing(of: grant, tag: tag, under: kek) == .honoured
    }

    /// Whether the list holds a grant that has no stored tag.
    package func holds(_ grant: Grant, under kek: KeyEncryptionKey) throws -> Bool {
        guard let entry = entries[try grant.name.digest()] else { return false }
        return try kek.each.contains { entry == Digest(try grant.tag(under: $0)) }
    }

    /// Whether the list names a row at all.
    package func names(_ name: Grant.Name) throws -> Bool { entries[try name.digest()] != nil }

    package mutating func set(_ grant: Grant, under kek: KeyEncryptionKey) throws {
        entries[try grant.name.digest()] = Digest(try grant.tag(under: kek))
    }

    /// Remembers that a row was revoked, also when the row itself says otherwise.
    package mutating func revoke(_ name: Grant.Name, under kek: KeyEncryptionKey) throws {
        entries[try name.digest()] = try name.revocation(under: kek)
    }

    /// Takes over what another list says of a row, if it says anything.
    package mutating func take(_ name: Grant.Name, from other: GrantList) throws {
        let digest = try name.digest()
        if let entry = other.entries[digest] { entries[digest] = entry }
    }

    /// Names a row without a tag that any row could have: it is known, and grants nothing.
    package mutating func hold(_ name: Digest) throws {
        entries[name] = Digest(try randomBytes(count: Digest.length))
    }

    /// Forgets a row that is gone.
    mutating func remove(_ name: Grant.Name) throws { entries[try name.digest()] = nil }

    /// Keeps only the rows of these names.
    mutating func keep(only names: Set<Digest>) { entries = entries.filter { names.contains($0.key) } }
}
