import CellCrypto
import Foundation
import Synchronization

/// The newest attested state of each organization that this server has verified, so that an older state is detected. Also caches
/// lists of grants, so that each is read once.
///
/// States are kept by the organization's id, because SQL can give a name to another organization for a moment. A change of a name
/// must not make the server forget a state. Only the cached lists are found by name.
package final class SeenStates: Sendable {
    /// The part of a state that later states are compared with. The server keeps a mark for every organization, in less than 100
    /// bytes each.
    struct Mark: Sendable, Equatable {
        let revision: Int
        let events: Int
        private let grantsDigest: SIMD32<UInt8>

        init(_ state: AttestedState) {
            revision = state.revision
            events = state.events
            grantsDigest = Self.packed(state.grantsDigest)
        }

        /// - Throws: ``AttestationProblem`` if `other` can't be a later state than this one.
        func check(_ other: AttestedState) throws {
            guard other.revision >= revision else { throw AttestationProblem.older(than: revision) }
            // After `org attach` accepted another history, revisions begin at a far higher number.
            guard other.era == AttestedState.era(of: revision) else { return }
            guard other.revision > revision || Self.packed(other.grantsDigest) == grantsDigest, other.events >= events else {
                throw AttestationProblem.otherHistory
            }
        }

        /// Whether `other` can be a later state than this one.
        func mayPrecede(_ other: AttestedState) -> Bool { (try? check(other)) != nil }

        /// A digest of 32 bytes as a vector; zeros for another length, which no real digest equals.
        private static func packed(_ digest: [UInt8]) -> SIMD32<UInt8> { digest.count == 32 ? SIMD32(digest) : SIMD32() }
    }

    /// A list of grants, with its digest.
    package struct KnownGrants: Sendable {
        let digest: [UInt8]
        let list: GrantList
    }

    /// The states that the server had seen at one moment. Take the snapshot before a state is read, because entries made later may
    /// be newer than that state.
    struct Snapshot: Sendable {
        fileprivate var marks: [UUID: Mark] = [:]

        /// The newest state of an organization.
        func newest(of id: UUID) -> Mark? { marks[id] }
    }

    private let seen = Mutex(Snapshot())
    private let grants = Mutex(RecentValues<String, KnownGrants>(limit: 1_000))

    var snapshot: Snapshot { seen.withLock { $0 } }

    /// The list of grants that was read last for an organization's name.
    func grants(named name: String) -> KnownGrants? { grants.withLock { $0.value(of: name) } }

    /// Remembers a verified and committed state, if it can be later than the state that was seen last.
    func remember(_ state: AttestedState) {
        let mark = Mark(state)
        seen.withLock { seen in
            if let known = seen.marks[state.organizationID], known == mark || !known.mayPrecede(state) { return }
            seen.marks[state.organizationID] = mark
        }
    }

    /// Remembers a state together with its list of grants.
    func remember(_ state: AttestedState, _ list: GrantList, of name: String) {
        remember(state)
        grants.withLock {
            guard $0.value(of: name)?.digest != state.grantsDigest else { return }
            $0.keep(KnownGrants(digest: state.grantsDigest, list: list), for: name)
        }
    }
}

extension Deployment {
    /// False if this server has seen a newer revision than the one in `state`. Then `state` must not be reused. So a revocation
    /// takes effect on this server even if SQL defeats the session's own check.
    func isNewest(_ state: OrganizationState) -> Bool {
        guard let attested = state.attested else { return false }
        return seenStates.snapshot.newest(of: attested.organizationID)?.revision == attested.revision
    }

    /// Remembers a state that was read outside of a transaction, and is therefore committed.
    package func remember(_ state: OrganizationState) {
        guard let attested = state.attested, state.problem == nil else { return }
        seenStates.remember(attested, state.grants, of: state.organization.name)
    }
}
