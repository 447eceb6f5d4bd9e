package import CellCrypto
import Foundation
import Model
package import PostgresClient

/// A change of anything that an organization's attested state covers: grants, key or events. The state's row is locked until the
/// transaction ends.
package struct AttestedChange {
    package let organization: Organization
    /// The organization's key-encryption key. This key seals and tags what the change writes.
    package private(set) var kek: KeyEncryptionKey
    package private(set) var state: AttestedState
    /// The database's time when the row was locked.
    package let now: PostgresMoment
    package private(set) var grants: GrantList
    private var hasNewGrants = false
    private var hasNewKey = false
    private var hasNewEvents = false
    /// Whether access was revoked. Such a change needs an event: without one, SQL could put back the former state and the former
    /// rows, and nothing would differ.
    private var hasLostGrants = false

    /// Locks and verifies the row. Because of the lock, changes are made one at a time.
    fileprivate init(
        locking organization: Organization,
        under kek: KeyEncryptionKey,
        withGrants: Bool,
        on connection: isolated PostgresConnection
    ) throws {
        let rows = try connection.query(
            """
            SELECT \(AttestedState.columns), clock_timestamp(), CASE WHEN $2 THEN a.grants END
              FROM config.attested_state AS a WHERE a.organization_id = $1 FOR NO KEY UPDATE
            """, [.uuid(organization.id), .bool(withGrants)])
        guard let row = rows.first else { throw AttestationProblem.missing }
        self.organization = organization
        state = try AttestedState(row, at: 0)
        try state.verify(under: kek)
        guard let own = kek.member(state.kekID) else { throw AttestationProblem.otherKeyEncryptionKey(state.kekID) }
        self.kek = own
        now = try row.decode(AttestedState.columnCount)
        guard withGrants else {
            grants = GrantList()
            return
        }
        let bytes = try row.decode(AttestedState.columnCount + 1, as: PostgresBytes.self).bytes
        guard let list = GrantList(bytes), try sha256(bytes) == state.grantsDigest else { throw AttestationProblem.grants }
        grants = list
    }

    /// Adds a row to the attested list, or updates the row's tag there.
    ///
    /// - Returns: The tag to store with the row.
    package mutating func grant(_ grant: Grant) throws -> [UInt8] {
        try grants.set(grant, under: kek)
        hasNewGrants = true
        return try grant.tag(under: kek)
    }

    /// Revokes a row permanently. SQL can't undo the revocation.
    ///
    /// - Parameter tag: The tag that the row has from now on; nil if the row keeps its last tag.
    package mutating func revoke(_ name: Grant.Name, tag: [UInt8]? = nil) throws {
        try grants.revoke(name, tag: tag, under: kek)
        (hasNewGrants, hasLostGrants) = (true, true)
    }

    /// Whether the attested list has a row with that name.
    package func names(_ name: Grant.Name) throws -> Bool { try grants.names(name) }

    /// Makes all rows of a group grant nothing from now on, also rows that SQL hides now and restores later.
    package mutating func end(_ group: Grant.Name) throws {
        try grants.end(group)
        (hasNewGrants, hasLostGrants) = (true, true)
    }

    /// Removes a deleted row from the attested list.
    package mutating func remove(_ name: Grant.Name) throws {
        guard try grants.names(name) else { return }
        try grants.remove(name)
        (hasNewGrants, hasLostGrants) = (true, true)
    }

    /// Removes a row that expired from the attested list. The row gives no access, so its removal needs no event.
    package mutating func removeExpired(_ name: Grant.Name) throws {
        guard try grants.names(name) else { return }
        try grants.remove(name)
        hasNewGrants = true
    }

    /// Moves the organization to another key-encryption key, with the list of new tags.
    package mutating func move(under kek: KeyEncryptionKey, _ grants: GrantList) {
        self.kek = kek
        self.grants = grants
        state.kekID = kek.id
        hasNewGrants = true
    }

    /// Puts another organization key into force.
    package mutating func setKey(version: Int, fingerprint: String) {
        state.keyVersion = version
        state.fingerprint = fingerprint
        hasNewKey = true
    }

    /// Appends an event to the chain.
    package mutating func append(_ event: SecurityEvent, by caller: Caller, on connection: isolated PostgresConnection) throws {
        try append(
            event, by: caller,
            """
            INSERT INTO \(organization.qualified("security_event"))
                (kind, outcome, actor, address, request_id, key_version, fingerprint, details)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            """, on: connection)
    }

    /// Appends the first event of a new organization. Runs as the database owner.
    ///
    /// The statement computes the hash itself, so the trigger that computes hashes does not fire. A trigger would take time: to
    /// compile its function, PL/pgSQL would read the functions with that name in all schemas.
    package mutating func begin(_ event: SecurityEvent, by caller: Caller, on connection: isolated PostgresConnection) throws {
        try append(
            event, by: caller,
            """
            WITH event AS MATERIALIZED (
                SELECT 1::bigint AS security_event_id, clock_timestamp() AS occurred_on, $1::text AS kind, $2::text AS outcome,
                       $3::text AS actor, $4::text AS address, $5::text AS request_id, $6::integer AS key_version,
                       $7::text AS fingerprint, $8::text AS details, NULL::bytea AS previous_hash)
            INSERT INTO \(organization.qualified("security_event"))
                (security_event_id, occurred_on, kind, outcome, actor, address, request_id, key_version, fingerprint, details, hash)
            SELECT security_event_id, occurred_on, kind, outcome, actor, address, request_id, key_version, fingerprint, details,
                   \(EventHash.sql)
              FROM event
            """, on: connection)
    }

    private mutating func append(
        _ event: SecurityEvent, by caller: Caller, _ insertion: String, on connection: isolated PostgresConnection
    ) throws {
        let row = try connection.query(
            """
            \(insertion) RETURNING security_event_id, previous_hash, hash,
                hash = \(EventHash.sql) AND (kind, outcome, actor, address, request_id, key_version, fingerprint, details)
                    IS NOT DISTINCT FROM ($1, $2, $3, $4, $5, $6, $7, $8)
                AND occurred_on BETWEEN clock_timestamp() - interval '1 minute' AND clock_timestamp() + interval '1 minute'
            """, event.parameters(by: caller)
        ).first
        // The database owner could replace the functions that compute the hash and the time. So the stored event is attested only
        // if it has the values that were sent, and about the time of sending. One minute of difference is allowed, because a clock
        // may be corrected meanwhile.
        guard let row, try row.decode(3, as: Bool.self) else { throw AttestationProblem.eventReplaced }
        let number: Int = try row.decode(0)
        let previous = row.isNull(1) ? [] : try row.decode(1, as: PostgresBytes.self).bytes
        guard number == state.newestEvent + 1 else {
            // The database owner could make the database return any number, also the lowest one.
            throw AttestationProblem.events(attested: state.newestEvent, newest: number &- 1)
        }
        guard constantTimeEqual(previous, state.head) else { throw AttestationProblem.eventChanged(state.newestEvent) }
        state.events += 1
        state.newestEvent = number
        state.head = try row.decode(2, as: PostgresBytes.self).bytes
        hasNewEvents = true
        SecurityEventFigures.shared.count(event)
    }

    /// Updates the attested end of the chain, after this transaction linked `count` events.
    mutating func extend(by count: Int, to head: [UInt8]) {
        state.events += count
        state.newestEvent += count
        state.head = head
        hasNewEvents = true
    }

    fileprivate mutating func write(on connection: isolated PostgresConnection) throws {
        guard hasNewGrants || hasNewKey || hasNewEvents else { return }
        assert(!hasLostGrants || hasNewEvents, "access was revoked without an event")
        if hasNewGrants { state.grantsDigest = try sha256(grants.bytes) }
        if hasNewGrants || hasNewKey { state.revision += 1 }
        let former = state.tag
        try state.sign(under: kek)
        try state.update(from: former, grants: hasNewGrants ? grants : nil, on: connection)
    }
}

extension AttestedState {
    /// Makes a change and attests it, in the open transaction, or in a new one if none is open. Every change of a row that grants
    /// access, of the key and of the events uses this function.
    ///
    /// The state's row is locked first. Events and rows that grant access are locked after it. All callers lock in that order.
    ///
    /// - Throws: ``FieldsealError`` that names the organization when the state does not verify. Then the state is not overwritten.
    package static func change<Result>(
        of organization: Organization,
        under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection,
        _ body: (inout AttestedChange) throws -> Result
    ) throws -> Result {
        try change(of: organization, under: kek, withGrants: true, on: connection, body)
    }

    private static func change<Result>(
        of organization: Organization,
        under kek: KeyEncryptionKey,
        withGrants: Bool,
        on connection: isolated PostgresConnection,
        _ body: (inout AttestedChange) throws -> Result
    ) throws -> Result {
        do {
            return try connection.atomically {
                var change = try AttestedChange(locking: organization, under: kek, withGrants: withGrants, on: connection)
                let result = try body(&change)
                try change.write(on: connection)
                return result
            }
        } catch let problem as AttestationProblem {
            throw FieldsealError.notAttested(organization.name, problem, given: kek.id)
        }
    }

    /// Changes only the end of the chain of events. The list of grants is not read.
    static func changeEvents<Result>(
        of organization: Organization,
        under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection,
        _ body: (inout AttestedChange) throws -> Result
    ) throws -> Result {
        try change(of: organization, under: kek, withGrants: false, on: connection, body)
    }

    /// Begins the chain of events of a new organization.
    static func begin(
        with event: SecurityEvent,
        of organization: Organization,
        by caller: Caller,
        under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws {
        try changeEvents(of: organization, under: kek, on: connection) {
            try $0.begin(event, by: caller, on: connection)
        }
    }

    /// Appends an event and changes nothing else. The list of grants is not read.
    static func append(
        _ event: SecurityEvent,
        to organization: Organization,
        by caller: Caller,
        under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws {
        try changeEvents(of: organization, under: kek, on: connection) {
            try $0.append(event, by: caller, on: connection)
        }
    }
}
