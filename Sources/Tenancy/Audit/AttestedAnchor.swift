package import CellCrypto
package import PostgresClient

/// What the newest security event about the audit says, and the proof that the chain of events has that event.
///
/// An owner of the database can change an event and compute its hash again. Then the hashes of the later events do not follow from it, and
/// the last of them is attested. So the events from that one on are read. Each is read once: the next sealing begins with its own event.
package struct AttestedAnchor {
    /// How many events are read at a time.
    private static let rangeLength = 20_000
    /// The events with which an organization came from another database, where transactions have other numbers. Its present state may
    /// also have been accepted where it is, after a restore. If nothing differed then, it is the state that was attested before.
    private static let arrivals: [SecurityEvent.Kind] = [
        .organizationAttached, .organizationImported, .organizationCloned, .organizationMoved,
    ]
    /// What the event says of a state that was accepted without a difference.
    package static let nothingDiffered = "attested again: nothing differed"

    private let organization: Organization
    /// What the event says; nil while nothing was sealed.
    package private(set) var anchor: AuditAnchor?
    /// Whether the organization came from another database since.
    private(set) var hasArrived = false
    /// The last event that was read.
    private var place: (id: Int, hash: [UInt8]?)

    /// Reads the newest event about the audit, and verifies those from it to the end of the chain.
    ///
    /// - Throws: ``EventChainProblem``.
    package init(of organization: Organization, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection) throws {
        if let event = try AuditAnchor.newestEvent(of: organization, on: connection) {
            try self.init(event, of: organization)
        } else {
            // Events before that one may have been archived.
            let archived = try EventArchivePosition.read(organization, under: kek, on: connection)
            self.init(of: organization, anchor: nil, behind: (archived?.lastID ?? 0, archived?.head))
        }
        try follow(on: connection)
    }

    /// - Parameter event: The newest one about the audit.
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

    /// Verifies the events up to the end of the chain, or so many of them.
    ///
    /// - Throws: ``EventChainProblem``.
    mutating func follow(upTo limit: Int = .max, on connection: isolated PostgresConnection) throws {
        var rest = limit
        while rest > 0, try followRange(of: min(rest, Self.rangeLength), on: connection) { rest -= Self.rangeLength }
    }

    /// - Returns: Whether there were events.
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
            throw EventChainProblem("\(broken): this event, or the one about the audit before it, was changed or taken out")
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

    /// Goes on to the end of the chain, which is the attested one. The state is locked.
    ///
    /// - Throws: ``EventChainProblem``.
    mutating func follow(to state: AttestedState, on connection: isolated PostgresConnection) throws {
        try follow(on: connection)
        guard place.id == state.newestEvent, constantTimeEqual(place.hash ?? [], state.head) else {
            throw EventChainProblem("\(place.id): the chain of security events does not end with the event that is attested")
        }
    }

    /// The transactions that had ended when the newest block was sealed, for the time after that block was archived.
    ///
    /// - Throws: ``EventChainProblem`` if it is not the recorded block.
    package func endedTransactions(on connection: isolated PostgresConnection) throws -> String? {
        let row = try connection.query("SELECT pg_catalog.clock_timestamp(), \(AuditSnapshot.sql)")[0]
        let now: PostgresMoment = try row.decode(0)
        guard let present = AuditSnapshot(try row.decode(1), at: now) else { return nil }
        return try FormerSealing(self, of: organization, at: present, now, on: connection).snapshot?.text
    }
}
