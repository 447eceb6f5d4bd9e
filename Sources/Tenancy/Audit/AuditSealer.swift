import CellCrypto
import JSON
import Model
import PostgresClient

/// Seals new entries of an organization's audit in blocks, each batch in one transaction with the security event that records it.
///
/// Entries are read and given their block before the attested state is locked: others that append events wait for the insert of the
/// blocks alone. Writers of records wait for nothing here.
struct AuditSealer {
    let organization: Organization
    let kek: KeyEncryptionKey
    let caller: Caller

    /// How many entries a batch and a block have at most.
    static let limit = 2_000
    /// How many doubted entries an event names.
    private static let namedDoubts = 5

    private var audit: String { organization.qualified("audit") }
    private var table: String { organization.qualified("audit_block") }

    /// What a batch did.
    struct Batch {
        var entries = 0
        /// The newest entry of a full batch, behind which the next one begins.
        var last: PostgresMoment?
        /// Whether another server seals, or sealed just now.
        var isDue = true
    }

    /// - Parameters:
    ///   - after: Only entries of that moment or later; nil for all.
    ///   - rest: How many seconds ago the last block must have been sealed.
    ///   - waits: Whether to wait for another server that seals.
    func seal(after: PostgresMoment?, restingFor rest: Int, waits: Bool, on connection: isolated PostgresConnection) throws -> Batch
    {
        try connection.transaction {
            guard try lock(waits: waits, on: connection) else { return Batch(isDue: false) }
            let anchor = try AuditAnchor.newest(of: organization, on: connection)
            let newest = try newestBlock(on: connection)
            let now = try connection.query("SELECT pg_catalog.clock_timestamp(), \(AuditSnapshot.sql)")[0]
            let moment: PostgresMoment = try now.decode(0)
            if let newest, rest > 0, newest.sealedOn.isWithin(seconds: rest, before: moment) { return Batch(isDue: false) }
            let entries = try unsealed(after: after, on: connection)
            guard let last = entries.last else { return Batch() }
            let isFull = entries.count == Self.limit
            let snapshot: String? = try isFull || after != nil ? nil : now.decode(1)
            let blocks = try blocks(
                of: entries, from: number(after: anchor, newest?.number), at: moment, snapshot, after: anchor?.digest)
            try assign(blocks, entries.count, on: connection)
            try AttestedState.changeEvents(of: organization, under: kek, on: connection) { change in
                try record(blocks, anchor, doubts(about: entries, newest, at: now), &change, on: connection)
            }
            return Batch(entries: entries.count, last: isFull ? last.createdOn : nil)
        }
    }

    /// How many blocks that SQL wrote are passed over, so that they do not keep new entries from being sealed.
    private static let passedOver = 1_000_000

    private func number(after anchor: AuditAnchor?, _ newest: Int?) throws -> Int {
        let last = anchor?.last ?? 0
        guard let newest, newest > last else { return last + 1 }
        guard newest < last + Self.passedOver else {
            throw FieldsealError(
                .unexpected,
                "The audit of \(organization.name) can't be sealed: SQL wrote block \(newest), and the last one is \(last). "
                    + "fieldseal org attach \(organization.name) has the audit sealed anew.")
        }
        return newest + 1
    }

    /// One server seals at a time.
    private func lock(waits: Bool, on connection: isolated PostgresConnection) throws -> Bool {
        let key = "hashtextextended('seal ' || $1, 0)"
        let id = [PostgresParameter.text(organization.id.text)]
        if waits {
            _ = try connection.query("SELECT pg_advisory_xact_lock(\(key))", id)
            return true
        }
        return try connection.query("SELECT pg_try_advisory_xact_lock(\(key))", id)[0].decode(0)
    }

    /// The newest block. Its snapshot is left out if the organization came from another database since: transactions have other numbers.
    private func newestBlock(on connection: isolated PostgresConnection) throws
        -> (number: Int, sealedOn: PostgresMoment, snapshot: String?)?
    {
        let arrivals: [SecurityEvent.Kind] = [
            .organizationAttached, .organizationImported, .organizationCloned, .organizationMoved,
        ]
        return try connection.query(
            """
            SELECT b.number, b.sealed_on, CASE WHEN NOT EXISTS (
                       SELECT FROM \(organization.qualified("security_event")) AS v WHERE v.occurred_on > b.sealed_on AND v.kind = ANY ($1))
                   THEN b.snapshot END
              FROM \(table) AS b ORDER BY b.number DESC LIMIT 1
            """, [.texts(arrivals.map(\.rawValue))]
        ).first.map { (try $0.decode(0), try $0.decode(1), try $0.decodeIfPresent(2)) }
    }

    private func unsealed(after: PostgresMoment?, on connection: isolated PostgresConnection) throws -> [AuditEntry] {
        // A cursor takes no parameters here: the number is the program's own.
        let bound = after.map { " AND a.createdon >= \(Self.literal($0))" } ?? ""
        var rows = try AuditRows(
            "unsealed_audit", in: organization,
            "WHERE a.block IS NULL\(bound) ORDER BY a.createdon, a.auditid LIMIT \(Self.limit)", on: connection)
        var entries: [AuditEntry] = []
        while let entry = try rows.next(on: connection) {
            entries.append(entry)
            rows.pass()
        }
        try rows.close(on: connection)
        return entries
    }

    private static func literal(_ moment: PostgresMoment) -> String {
        switch moment.microseconds {
        case .max: "'infinity'::timestamptz"
        case .min: "'-infinity'::timestamptz"
        case let number: "'2000-01-01 00:00+00'::timestamptz + \(number) * interval '1 microsecond'"
        }
    }

    /// The entries of one day in UTC are in one block, so that what is archived by age is not held up by what is newer.
    private func blocks(
        of entries: [AuditEntry], from number: Int, at moment: PostgresMoment, _ snapshot: String?, after digest: [UInt8]?
    ) throws -> [AuditBlock] {
        let days = entries.chunked { $0.createdOn.day == $1.createdOn.day }
        var blocks: [AuditBlock] = []
        for (place, day) in days.enumerated() {
            blocks.append(
                try AuditBlock(
                    number + place, day, at: moment, place == days.count - 1 ? snapshot : nil, after: blocks.last?.digest ?? digest)
            )
        }
        return blocks
    }

    private func assign(_ blocks: [AuditBlock], _ count: Int, on connection: isolated PostgresConnection) throws {
        var assigned = 0
        for block in blocks {
            assigned += try connection.query(
                "UPDATE \(audit) SET block = $1 WHERE auditid = ANY ($2) AND block IS NULL",
                [.int64(Int64(block.number)), .uuids(Array(block.digests.keys))]
            ).affectedRows
        }
        guard assigned == count else {
            throw FieldsealError(
                .unexpected,
                "\(count - assigned) entries of the audit of \(organization.name) could not be sealed: they were taken away meanwhile, or a "
                    + "trigger keeps them from it. fieldseal doctor names what differs.")
        }
    }

    private func record(
        _ blocks: [AuditBlock], _ former: AuditAnchor?, _ doubts: [String], _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws {
        guard let last = blocks.last else { return }
        _ = try connection.pipeline(blocks.map { $0.insertion(into: table) })
        let anchor = AuditAnchor(last: last.number, digest: last.digest, first: former?.first ?? 1, before: former?.before)
        try change.append(
            SecurityEvent(.auditSealed, .succeeded, details: RecordedSealing.details(blocks, anchor)), by: caller, on: connection)
        guard !doubts.isEmpty else { return }
        let named = doubts.prefix(Self.namedDoubts).joined(separator: "; ") + (doubts.count > Self.namedDoubts ? "; …" : "")
        try change.append(
            SecurityEvent(.auditDoubted, .refused, details: "\(doubts.count) up to block \(last.number): \(named)"), by: caller,
            on: connection)
    }

    /// Entries that no trigger can have written as they are.
    private func doubts(
        about entries: [AuditEntry], _ newest: (number: Int, sealedOn: PostgresMoment, snapshot: String?)?, at now: PostgresRow
    ) throws -> [String] {
        guard let snapshot = AuditSnapshot(try now.decode(1)) else { return [] }
        let moment: PostgresMoment = try now.decode(0)
        let former = newest.flatMap { newest in
            newest.snapshot.flatMap(AuditSnapshot.init).map { (snapshot: $0, moment: newest.sealedOn) }
        }
        return entries.compactMap { entry in
            snapshot.doubt(about: entry, after: former, at: moment).map { "\(entry.id.text): \($0)" }
        }
    }
}

extension Array {
    /// Runs of elements in which each belongs together with the one before it.
    fileprivate func chunked(_ belong: (Element, Element) -> Bool) -> [[Element]] {
        reduce(into: []) { chunks, element in
            if let last = chunks.last?.last, belong(last, element) {
                chunks[chunks.count - 1].append(element)
            } else {
                chunks.append([element])
            }
        }
    }
}
