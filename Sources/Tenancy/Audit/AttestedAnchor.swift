package import CellCrypto
package import PostgresClient

/// What the newest security event about the audit says, and the proof that the chain of events has that event.
///
/// The database owner can change an event and compute its hash again. But the hashes of the later events then no longer match, and
/// the last hash is attested. So all events from the newest event about the audit to the end of the chain are verified. Each
/// sealing adds an event about the audit, so the next sealing verifies only the events after that event.
package struct AttestedAnchor {
    /// How many events are read at a time.
    private static let rangeLength = 20_000
    /// The kinds of events that an organization has after it came from another database, or was attached after a restore.
    /// Transaction numbers from before such an event can't be compared with later ones. An `org attach` that found no difference is
    /// not counted as an arrival.
    private static let arrivals: [SecurityEvent.Kind] = [
        .organizationAttached, .organizationImported, .organizationCloned, .organizationMoved,
    ]
    /// The details of the event if `org attach` found no difference.
    package static let nothingDiffered = "attested again: nothing differed"

    private let organization: Organization
    /// The blocks that the newest event about the audit names; nil while nothing was sealed.
    package private(set) var anchor: AuditAnchor?
    /// Whether, since the newest event about the audit, the organization came from another database or was attached after a
    /// restore.
    private(set) var hasArrived = false
    /// The last event that was read.
    private var place: (id: Int, hash: [UInt8]?)

    /// Reads the newest event about the audit, and verifies all events from it to the end of the chain.
    ///
    /// - Throws: ``EventChainProblem``.
    package init(of organization: Organization, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection) throws {
        if let event = try AuditAnchor.newestEvent(of: organization, on: connection) {
            try self.init(event, of: organization)
        } else {
            // Without an event about the audit, the chain is verified from its first event that is not archived.
            let archived = try EventArchivePosition.read(organization, under: kek, on: connection)
            self.init(of: organization, anchor: nil, behind: (archived?.lastID ?? 0, archived?.head))
        }
        try follow(on: connection)
    }

    /// - Parameter event: The newest event about the audit.
    init(_ event: RecordedEvent, of organization: Organization) throws {
        guard event.hash == (try event.computedHash()) else {
            throw EventChainProblem("\(event.id): this event, the newest about the audit, was changed")
        }
        self.init(of: organization, anchor: try Self.anchor(of: event.id, event.details ?? ""), behind: (event.id, event.hash))
    }

    private init(of organization: Organization, anchor: AuditAnchor?, behind place: (id: Int, hash: [UInt8]?)) {
        self.organization = organization
        self.anchor = anchor
        self.place = place
    }

    private static func anchor(of event: Int, _ details: String) throws -> AuditAnchor {
        guard let anchor = AuditAnchor(details) else {
            throw EventChainProblem("\(event): this event does not say which blocks the audit has")
        }
        return anchor
    }

    /// Verifies the next events, up to the end of the chain or at most `limit` of them.
    ///
    /// - Throws: ``EventChainProblem``.
    mutating func follow(upTo limit: Int = .max, on connection: isolated PostgresConnection) throws {
        var rest = limit
        while rest > 0, try followRange(of: min(rest, Self.rangeLength), on: connection) { rest -= Self.rangeLength }
    }

    /// - Returns: Whether there were any more events.
    private mutating func followRange(of length: Int, on connection: isolated PostgresConnection) throws -> Bool {
        let row = try connection.query(
            """
            SELECT max(id), (array_agg(hash ORDER BY id DESC))[1], min(id) FILTER (WHERE (is_linked AND is_whole) IS NOT TRUE),
                   max(id) FILTER (WHERE is_about), (array_agg(details ORDER BY id DESC) FILTER (WHERE is_about))[1],
                   max(id) FILTER (WHERE kind = ANY ($5) AND details IS DISTINCT FROM $6)
              FROM (SELECT security_event_id AS id, hash, kind, details, hash = \(EventHash.sql) AS is_whole,
                           previous_hash IS NOT DISTINCT FROM lag(hash, 1, $2) OVER (ORDER BY security_event_id) AS is_linked,
                           kind = ANY ($4) AND details LIKE '\(AuditAnchor.pattern)' AS is_about
                      FROM (SELECT * FROM \(organization.qualified("security_event"))
                             WHERE security_event_id > $1 ORDER BY security_event_id LIMIT $3) AS range) AS event
            """,
            [
                .int64(Int64(place.id)), .bytes(place.hash), .int64(Int64(length)), .texts(AuditAnchor.kinds.map(\.rawValue)),
                .texts(Self.arrivals.map(\.rawValue)), .text(Self.nothingDiffered),
            ])[0]
        guard let last: Int = try row.decodeIfPresent(0) else { return false }
        if let broken: Int = try row.decodeIfPresent(2) {
            throw EventChainProblem("\(broken): this event, or the previous event about the audit, was changed or removed")
        }
        place = (last, try row.decode(1, as: PostgresBytes.self).bytes)
        let arrival: Int? = try row.decodeIfPresent(5)
        if let event: Int = try row.decodeIfPresent(3) {
            anchor = try Self.anchor(of: event, row.decode(4))
            hasArrived = arrival.map { $0 > event } ?? false
        } else if arrival != nil {
            hasArrived = true
        }
        return true
    }

    /// Verifies the rest of the chain, and that it ends with the attested event. The caller must have locked the attested state.
    ///
    /// - Throws: ``EventChainProblem``.
    mutating func follow(to state: AttestedState, on connection: isolated PostgresConnection) throws {
        try follow(on: connection)
        guard place.id == state.newestEvent, constantTimeEqual(place.hash ?? [], state.head) else {
            throw EventChainProblem("\(place.id): the chain of security events does not end with the event that is attested")
        }
    }

    /// Returns a text that says which transactions had ended when the newest block was sealed. An archive records this text,
    /// because archiving removes the block that had it.
    ///
    /// - Throws: ``EventChainProblem`` if the newest block is not the recorded one.
    package func endedTransactions(on connection: isolated PostgresConnection) throws -> String? {
        let row = try connection.query("SELECT pg_catalog.clock_timestamp(), \(AuditSnapshot.sql)")[0]
        let now: PostgresMoment = try row.decode(0)
        guard let present = AuditSnapshot(try row.decode(1), at: now) else { return nil }
        return try FormerSealing(self, of: organization, at: present, now, on: connection).snapshot?.text
    }
}
