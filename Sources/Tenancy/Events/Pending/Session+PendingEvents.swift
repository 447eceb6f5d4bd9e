import CellCrypto
import Model
import PostgresClient

extension Session {
    /// Links the events in `unchained_event` into the chain of security events.
    ///
    /// An event that the service did not write, or that is in the chain already, is recorded as refused.
    ///
    /// - Throws: ``FieldsealError`` if the organization's attested state does not verify. Then the events stay in
    ///   `unchained_event`.
    package func chainPendingEvents() async throws {
        let table = organization.qualified("unchained_event")
        while true {
            let linked = try await deployment.pool.withConnection { connection -> [PendingEvent] in
                guard try connection.query("SELECT EXISTS (SELECT FROM \(table))")[0].decode(0, as: Bool.self) else { return [] }
                return try AttestedState.changeEvents(of: organization, under: deployment.kek, on: connection) { change in
                    try ChainLink(organization, deployment.kek).run(&change, on: connection)
                }
            }
            deployment.pendingEvents.forgetLinked(linked, of: organization)
            if linked.count < ChainLink.limit { return }
        }
    }
}

extension Deployment {
    /// Links the waiting events of organizations in which a password was written since the last call. Records events that SQL
    /// deleted before they were linked.
    ///
    /// After a failure, the next call tries an organization again while this server expects events of it. Otherwise the
    /// organization's next write of a password, or the next sweep, tries again.
    ///
    /// - Parameter onFailure: Called with an organization whose events could not be linked, and the reason.
    package func chainPendingEvents(by caller: Caller, onFailure: (String, any Error) -> Void) async {
        for name in pendingEvents.take() {
            do {
                let session = try await Session.begin(self, organization: name, caller: caller)
                let expected = pendingEvents.expected(of: session.organization)
                try await session.chainPendingEvents()
                try await session.recordLostEvents(among: expected)
            } catch {
                onFailure(name, error)
                pendingEvents.postpone(name)
            }
        }
    }
}

/// One batch of events, linked while the attested state is locked.
private struct ChainLink {
    /// How many events one batch has. The lock is held for about 50 ms.
    static let limit = 2_000

    private let organization: Organization
    private let kek: KeyEncryptionKey

    init(_ organization: Organization, _ kek: KeyEncryptionKey) {
        self.organization = organization
        self.kek = kek
    }

    /// - Returns: The events that were linked.
    func run(_ change: inout AttestedChange, on connection: isolated PostgresConnection) throws -> [PendingEvent] {
        // The statement looks each event up in the chain. A cached plan from a time when the chain was short would scan the whole
        // chain.
        try connection.execute("SET LOCAL enable_seqscan = off")
        let rows = try connection.query(
            """
            SELECT \(PendingEvent.columns), unchained_event_id, tag,
                   EXISTS (SELECT FROM \(organization.qualified("security_event")) AS e
                       WHERE e.occurred_on = u.occurred_on AND (e.kind, e.actor, e.details) = (u.kind, u.actor, u.details))
                   OR u.occurred_on <= (SELECT a.last_occurred_on FROM config.event_archive AS a WHERE a.organization_id = $1)
              FROM \(organization.qualified("unchained_event")) AS u ORDER BY u.unchained_event_id LIMIT \(Self.limit)
            """, [.uuid(organization.id)])
        guard !rows.isEmpty else { return [] }
        let first = change.state.newestEvent + 1
        var head = change.state.head
        var ids: [Int64] = []
        var events: [PendingEvent] = []
        var refused: [Bool] = []
        var previousHashes: [[UInt8]?] = []
        var hashes: [[UInt8]?] = []
        var tags: Set<[UInt8]> = []
        for row in rows {
            let event = try PendingEvent(row)
            let tag = try row.decode(8, as: PostgresBytes.self).bytes
            let isOurs = try event.isAuthentic(by: tag, organization, kek)
            // If a row occurs twice, or again after it was linked, SQL made the copy.
            let isCopy = try !tags.insert(tag).inserted || row.decodeIfPresent(9, as: Bool.self) ?? false
            let linked = isOurs && !isCopy ? event : event.refused
            let hash = try linked.hash(id: first + ids.count, after: head.isEmpty ? nil : head)
            events.append(linked)
            ids.append(Int64(try row.decode(7, as: Int.self)))
            refused.append(!isOurs || isCopy)
            previousHashes.append(head.isEmpty ? nil : head)
            hashes.append(hash)
            head = hash
        }
        let moved = try connection.query(
            "SELECT \(organization.qualified("chain_events"))($1, $2, $3, $4, $5)",
            [.int64s(ids), .bools(refused), .bytesArray(previousHashes), .bytesArray(hashes), .int64(Int64(first))])
        guard try moved[0].decode(0, as: Int.self) == ids.count else {
            throw FieldsealError(
                .unexpected,
                "The function chain_events of \(organization.name) did not link all events: it was replaced. Restore it from the "
                    + "migrations; fieldseal doctor names what differs.")
        }
        change.extend(by: ids.count, to: head)
        for event in events { SecurityEventFigures.shared.count(event) }
        return events
    }
}
