package import CellCrypto
import PostgresClient

/// The attested list of an organization: the name and the tag of each row that grants access.
package struct GrantList: Sendable, Equatable {
    /// 16 bytes of a digest or tag.
    package struct Digest: Sendable, Hashable, Comparable {
        package static let length = 16
        let high: UInt64
        let low: UInt64

        /// - Parameter bytes: Only the first 16 are used.
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

    /// The list's verdict on a row.
    package enum Standing: Sendable, Equatable {
        /// The row has the contents that this service wrote last.
        case honoured
        /// This service revoked it.
        case revoked
        /// This service wrote the row, and later wrote other contents for it.
        case putBack
        /// The row's tag does not match its contents.
        case foreign
    }

    package private(set) var entries: [Digest: Digest] = [:]

    package init() {}

    /// Parses ``bytes``.
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

    /// The list in the database's form, in the order of the names.
    package var bytes: [UInt8] { entries.sorted { $0.key < $1.key }.flatMap { $0.key.bytes + $0.value.bytes } }

    /// The list's verdict on a row with a stored tag.
    package func standing(of grant: Grant, tag: [UInt8], under kek: KeyEncryptionKey) throws -> Standing {
        let entry = entries[try grant.name.digest()]
        if let entry, try kek.each.contains(where: { entry == (try grant.name.revocation(under: $0)) }) { return .revoked }
        guard try grant.fits(tag, under: kek) else { return .foreign }
        return entry == Digest(tag) ? .honoured : .putBack
    }

    /// Whether a row has the contents that this service wrote last.
    package func honours(_ grant: Grant, tag: [UInt8], under kek: KeyEncryptionKey) throws -> Bool {
        try standing(of: grant, tag: tag, under: kek) == .honoured
    }

    /// Whether the list has a grant that has no stored tag.
    package func holds(_ grant: Grant, under kek: KeyEncryptionKey) throws -> Bool {
        guard let entry = entries[try grant.name.digest()] else { return false }
        return try kek.each.contains { entry == Digest(try grant.tag(under: $0)) }
    }

    /// Whether the list has the name of a row.
    package func names(_ name: Grant.Name) throws -> Bool { entries[try name.digest()] != nil }

    package mutating func set(_ grant: Grant, under kek: KeyEncryptionKey) throws {
        entries[try grant.name.digest()] = Digest(try grant.tag(under: kek))
    }

    /// Records that a row was revoked, regardless of what the row itself says.
    package mutating func revoke(_ name: Grant.Name, under kek: KeyEncryptionKey) throws {
        entries[try name.digest()] = try name.revocation(under: kek)
    }

    /// Copies the entry of another list for a row, if there is one.
    package mutating func take(_ name: Grant.Name, from other: GrantList) throws {
        let digest = try name.digest()
        if let entry = other.entries[digest] { entries[digest] = entry }
    }

    /// Adds the name of a row with a tag that no row can have. So the row is known, and grants nothing.
    package mutating func hold(_ name: Digest) throws {
        entries[name] = Digest(try randomBytes(count: Digest.length))
    }

    /// Removes the name of a deleted row.
    mutating func remove(_ name: Grant.Name) throws { entries[try name.digest()] = nil }

    /// Removes all rows but those with these names.
    mutating func keep(only names: Set<Digest>) { entries = entries.filter { names.contains($0.key) } }
}
