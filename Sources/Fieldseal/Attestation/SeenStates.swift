import CellCrypto
import Foundation
import PostgresClient
import Synchronization

/// The newest attested state of each organization that this server has verified, so that an older one shows, and its list of
/// grants, so that it is read once.
///
/// States are kept by the organization's id. A name is only a way to it: SQL can give another organization the name for a moment,
/// and that must not make the server forget.
final class SeenStates: Sendable {
    struct Seen: Sendable {
        let state: AttestedState
        let grants: GrantList
    }

    /// What was seen at one moment. Take it before a state is read: what is seen later may be newer.
    struct Snapshot: Sendable {
        fileprivate var states: [UUID: Seen] = [:]
        fileprivate var ids: [String: UUID] = [:]

        /// The newest state of an organization.
        func newest(of id: UUID) -> Seen? { states[id] }

        /// The tags of all states.
        var tags: [[UInt8]] { states.values.map(\.state.tag) }

        /// The newest state of the organization that a name stood for last.
        func newest(named name: String) -> Seen? { ids[name].flatMap { states[$0] } }
    }

    private let seen = Mutex(Snapshot())

    var snapshot: Snapshot { seen.withLock { $0 } }

    /// Remembers a state that was verified and is committed.
    func remember(_ state: AttestedState, _ grants: GrantList, of name: String) {
        let id = state.organizationID
        seen.withLock { seen in
            if seen.ids[name] != id { seen.ids[name] = id }
            if let known = seen.states[id]?.state,
                known == state || (known.revision, known.events) > (state.revision, state.events)
            {
                return
            }
            seen.states[id] = Seen(state: state, grants: grants)
        }
    }
}

extension SeenStates.Seen {
    /// - Throws: ``AttestationProblem`` when `other` can't have come after this one.
    func check(_ other: AttestedState) throws {
        guard other.revision >= state.revision else { throw AttestationProblem.older(than: state.revision) }
        // Where `org attach` accepted another history, the revision begins anew, far higher.
        guard other.era == state.era else { return }
        guard other.revision > state.revision || other.grantsDigest == state.grantsDigest, other.events >= state.events else {
            throw AttestationProblem.otherHistory
        }
    }
}

extension Deployment {
    /// Whether this server has seen no newer revision than the one that a session once read: what was revoked since is not assumed
    /// any more, also where SQL keeps the session's own check from failing.
    func isNewest(_ state: OrganizationState) -> Bool {
        guard let attested = state.attested else { return false }
        return seenStates.snapshot.newest(of: attested.organizationID)?.state.revision == attested.revision
    }

    /// Remembers a state that was read outside of a transaction, and so is committed.
    func remember(_ state: OrganizationState) {
        guard let attested = state.attested, state.problem == nil else { return }
        seenStates.remember(attested, state.grants, of: state.organization.name)
    }

    /// Remembers the states that changed since they were seen last, also where no request asks: what was recorded is not taken
    /// back unnoticed, however quiet it is. One that does not verify is left to the request that needs it.
    public func rememberAttestedStates() async throws {
        let known = seenStates.snapshot.tags
        try await pool.withConnection { connection in
            let rows = try connection.query(
                """
                SELECT o.name, a.grants, \(AttestedState.columns) FROM config.attested_state AS a
                  JOIN config.organization AS o ON o.organization_id = a.organization_id WHERE a.tag <> ALL ($1)
                """, [.bytesArray(known)])
            for row in rows {
                let state = try AttestedState(row, at: 2)
                let list = try row.decode(1, as: PostgresBytes.self).bytes
                guard (try? state.verify(under: kek)) != nil, try sha256(list) == state.grantsDigest, let grants = GrantList(list)
                else { continue }
                seenStates.remember(state, grants, of: try row.decode(0))
            }
        }
    }
}
