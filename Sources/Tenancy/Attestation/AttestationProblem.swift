import CellCrypto
package import Model

/// The reason for which an organization's attested state does not verify.
package enum AttestationProblem: Error, Sendable, Equatable {
    /// The state was not verified yet.
    case unverified
    /// The row is missing.
    case missing
    /// This service did not write the row.
    case forged
    /// The row names the key-encryption key with this id, which the program does not have.
    case otherKeyEncryptionKey(String)
    /// This server has seen a newer state.
    case older(than: Int)
    /// This server has seen another state with the same revision, or a state with more events.
    case otherHistory
    /// The newest security event is not the event that the state attests.
    case events(attested: Int, newest: Int)
    /// The newest event has the attested number, but another hash.
    case eventChanged(Int)
    /// The database stored another event than the program sent.
    case eventReplaced
    /// The list of grants is malformed, or does not have the digest that the state attests.
    case grants

    /// Whether the problem is a difference from a state that this server remembers. A program that does not remember that state
    /// does not see the problem.
    package var isOfMemory: Bool {
        switch self {
        case .older, .otherHistory: true
        default: false
        }
    }

    /// The problem in words, for the middle of an error's sentence.
    package var description: String {
        switch self {
        case .unverified: "its attested state was not verified"
        case .missing: "config has no attested state for it: the row was deleted"
        case .forged: "its attested state in config was not written by this service"
        case .otherKeyEncryptionKey(let id): "its attested state was written under the key-encryption key \(id)"
        case .older(let revision):
            "its attested state is older than revision \(revision), which this server has seen: the database was restored, a "
                + "replica that lagged behind was promoted, or an older row was put back"
        case .otherHistory:
            "its attested state differs from the one that this server has seen: the database was restored, or a replica that lagged "
                + "behind was promoted"
        case .events(let attested, let newest) where newest > attested:
            "security events after number \(attested) are missing in the attested state: SQL wrote them, or put an older state back"
        case .events(let attested, let newest):
            "security events are missing: the newest is number \(newest), and the attested one is number \(attested)"
        case .eventChanged(let number): "the newest security event, number \(number), is not the one that this service wrote"
        case .eventReplaced:
            "the database changed a security event while it was inserted: a trigger, function or default of security_event was replaced"
        case .grants: "the list of attested rows in config was not written by this service"
        }
    }
}

extension FieldsealError {
    /// The error for an organization whose attested state does not verify. Nothing in that state is trusted.
    static func notAttested(_ name: String, _ problem: AttestationProblem, given kek: String) -> FieldsealError {
        let rest: String
        if case .otherKeyEncryptionKey = problem {
            return FieldsealError(
                .keySourceMissing,
                "The organization \(name) is refused: \(problem.description), and this program has \(kek). Put the missing "
                    + "key-encryption key back into the settings. If that key is lost: fieldseal org attach \(name), then fieldseal "
                    + "key activate."
            )
        } else {
            rest =
                "Find out who changed the database. `fieldseal org attach \(name)` shows the differences, and accepts the state if "
                + "you confirm it."
        }
        return FieldsealError(.organizationDisabled, "The organization \(name) is refused: \(problem.description). \(rest)")
    }

    /// The error for a schema that names another key than the attested state names.
    package static func otherKeyInForce(_ state: OrganizationState) -> FieldsealError {
        let attested = state.attested.map { "version \($0.keyVersion), fingerprint \($0.fingerprint)" } ?? "unknown"
        return FieldsealError(
            .keyRequired,
            "The schema of \(state.organization.name) names key version \(state.keyVersion), fingerprint \(state.fingerprint), and "
                + "this service put another one in force (\(attested)): a retired key was put back, or an older backup was restored. "
                + "Restore the schema; or accept it as it is: fieldseal org attach \(state.organization.name).")
    }
}
