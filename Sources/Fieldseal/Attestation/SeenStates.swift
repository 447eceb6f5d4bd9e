import Synchronization

/// The newest attested state of each organization that this server has verified, so that an older one shows, and its list of
/// grants, so that it is read once.
final class SeenStates: Sendable {
    struct Seen: Sendable {
        let state: AttestedState
        let grants: GrantList
    }

    private let seen = Mutex<[String: Seen]>([:])

    /// The newest state of the organization of a name. Ask before the state is read: what is seen later may be newer.
    func newest(of name: String) -> Seen? { seen.withLock { $0[name] } }

    /// Remembers a state that was verified and is committed.
    func remember(_ state: AttestedState, _ grants: GrantList, of name: String) {
        seen.withLock { seen in
            if let known = seen[name], known.state.organizationID == state.organizationID,
                (known.state.revision, known.state.events) > (state.revision, state.events)
            {
                return
            }
            seen[name] = Seen(state: state, grants: grants)
        }
    }
}

extension SeenStates.Seen {
    /// - Throws: ``AttestationProblem`` when `other` can't have come after this one.
    func check(_ other: AttestedState) throws {
        guard other.organizationID == state.organizationID else { return }
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
        guard let seen = seenStates.newest(of: state.organization.name)?.state, let attested = state.attested else { return false }
        return (seen.organizationID, seen.revision) == (attested.organizationID, attested.revision)
    }

    /// Remembers a state that was read outside of a transaction, and so is committed.
    func remember(_ state: OrganizationState) {
        guard let attested = state.attested, state.problem == nil else { return }
        seenStates.remember(attested, state.grants, of: state.organization.name)
    }
}
