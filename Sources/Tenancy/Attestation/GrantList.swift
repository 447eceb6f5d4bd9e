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
        case authentic
        /// This service revoked the row.
        case revoked
        /// SQL restored contents that this service wrote earlier and has replaced since.
        case putBack
        /// The row's tag does not match its contents.
        case foreign
    }

    package private(set) var entries: [Digest: Digest] = [:]

    package init() {}

    /// Parses ``bytes``.
    ///
    /// - Returns: Nil if the bytes are not a list.
    init?(_ bytes: [UInt8]) {
        let length = 2 * Digest.length
        guard bytes.count % length == 0 else { return nil }
        entries.reserveCapacity(bytes.count / length)
        for start in stride(from: 0, to: bytes.count, by: length) {
            entries[Digest(bytes[start..<start + Digest.length])] = Digest(bytes[(start + Digest.length)..<(start + length)])
        }
        guard entries.count == bytes.count / length else { return nil }
    }

    /// The list in the database's form, in the order of the names' digests.
    package var bytes: [UInt8] { entries.sorted { $0.key < $1.key }.flatMap { $0.key.bytes + $0.value.bytes } }

    /// The list's verdict on a row with a stored tag.
    package func standing(of grant: Grant, tag: [UInt8], under kek: KeyEncryptionKey) throws -> Standing {
        let entry = entries[try grant.name.digest()]
        if let entry, try isRevocation(entry, of: grant.name, under: kek) { return .revoked }
        guard try grant.fits(tag, under: kek) else { return .foreign }
        return try entry == self.entry(of: grant, tag: tag) ? .authentic : .putBack
    }

    // MARK: Rows that end together

    /// The list's entry for a row with this tag. If the row's group was ended, the entry also depends on that end, so entries
    /// from before the end no longer match.
    private func entry(of grant: Grant, tag: [UInt8]) throws -> Digest {
        guard let group = grant.group, let end = entries[try group.digest()] else { return Digest(tag) }
        return Digest(try sha256(end.bytes + Digest(tag).bytes))
    }

    /// Makes all rows of a group grant nothing from now on, even rows that SQL hides now and restores later. Rows that are set
    /// afterwards are valid.
    package mutating func end(_ group: Grant.Name) throws {
        let digest = try group.digest()
        let mark = try Self.mark(of: digest)
        entries[digest] = Digest(try Array(mark.bytes.prefix(8)) + randomBytes(count: 8))
    }

    /// Whether an entry marks the end of a group, and so belongs to no row.
    package func isEnd(_ name: Digest) throws -> Bool { try entries[name]?.high == Self.mark(of: name).high }

    private static func mark(of group: Digest) throws -> Digest { Digest(try sha256(Array("end".utf8) + group.bytes)) }

    // MARK: Rows

    private func isRevocation(_ entry: Digest, of name: Grant.Name, under kek: KeyEncryptionKey) throws -> Bool {
        try kek.each.contains { try entry.high == name.revocation(under: $0).high }
    }

    /// Whether a row has the contents and the tag that this service wrote last. A revoked row may have the contents from before its
    /// revocation, or those that the revocation wrote.
    ///
    /// - Parameter isDisabled: Whether the row says that it is disabled. The parameter must be true for a revoked row, and false
    ///   for any other row.
    package func isNewest(_ grant: Grant, tag: [UInt8], isDisabled: Bool, under kek: KeyEncryptionKey) throws -> Bool {
        switch try standing(of: grant, tag: tag, under: kek) {
        case .authentic: return !isDisabled
        case .revoked: return try isDisabled && grant.fits(tag, under: kek) && isLast(tag, of: grant, under: kek)
        case .putBack, .foreign: return false
        }
    }

    /// Whether a tag is the last tag of a row. The row may be revoked. Also true if an earlier version of the program wrote the
    /// revocation, because such a revocation does not depend on the tag.
    package func isLast(_ tag: [UInt8], of grant: Grant, under kek: KeyEncryptionKey) throws -> Bool {
        guard let entry = entries[try grant.name.digest()] else { return false }
        if try entry == self.entry(of: grant, tag: tag) { return true }
        return try kek.each.contains {
            try entry == grant.name.revocation(of: Digest(tag), under: $0) || entry == grant.name.revocation(under: $0)
        }
    }

    /// Whether a row has the contents that this service wrote last.
    package func authenticates(_ grant: Grant, tag: [UInt8], under kek: KeyEncryptionKey) throws -> Bool {
        try standing(of: grant, tag: tag, under: kek) == .authentic
    }

    /// Whether the list has this grant, whose row stores no tag.
    package func holds(_ grant: Grant, under kek: KeyEncryptionKey) throws -> Bool {
        guard let entry = entries[try grant.name.digest()] else { return false }
        return try kek.each.contains { try entry == self.entry(of: grant, tag: grant.tag(under: $0)) }
    }

    /// Whether the list has the name of a row.
    package func names(_ name: Grant.Name) throws -> Bool { entries[try name.digest()] != nil }

    package mutating func set(_ grant: Grant, under kek: KeyEncryptionKey) throws {
        entries[try grant.name.digest()] = try entry(of: grant, tag: grant.tag(under: kek))
    }

    /// Records that a row was revoked, regardless of what the row itself says.
    ///
    /// - Parameter tag: The tag that the row has from now on; nil if the row keeps its last tag.
    package mutating func revoke(_ name: Grant.Name, tag: [UInt8]?, under kek: KeyEncryptionKey) throws {
        let digest = try name.digest()
        if tag == nil, let entry = entries[digest], try isRevocation(entry, of: name, under: kek) { return }
        // If neither the caller nor the list has the row's last tag, a random tag takes its place.
        let last = try tag.map { Digest($0) } ?? entries[digest] ?? Digest(randomBytes(count: Digest.length))
        entries[digest] = try name.revocation(of: last, under: kek)
    }

    /// Copies a row's entry from another list, if that list has one.
    package mutating func take(_ name: Grant.Name, from other: GrantList) throws {
        let digest = try name.digest()
        if let entry = other.entries[digest] { entries[digest] = entry }
    }

    /// Lists a row under a random tag. The row is then known to the list and grants nothing, because its tag does not match.
    package mutating func hold(_ name: Digest) throws {
        entries[name] = Digest(try randomBytes(count: Digest.length))
    }

    /// Removes the name of a deleted row.
    mutating func remove(_ name: Grant.Name) throws { entries[try name.digest()] = nil }

    /// Keeps only the entries of rows with these names.
    mutating func keep(only names: Set<Digest>) { entries = entries.filter { names.contains($0.key) } }
}
