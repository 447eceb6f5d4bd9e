import Foundation
package import PostgresClient

extension Session {
    /// Appends a security event of this session.
    package func record(_ event: SecurityEvent) async throws {
        try await deployment.pool.withConnection { try record(event, on: $0) }
    }

    /// Appends a security event of this session, in the connection's transaction if one is open.
    package func record(_ event: SecurityEvent, on connection: isolated PostgresConnection) throws {
        try event.insert(for: organization, by: caller, under: deployment.kek, on: connection)
    }

    /// Appends the event of a secret that leaves the server, in the open transaction, if the caller's rights are still those of
    /// `state`.
    ///
    /// To compare, the attested state is locked and verified. So it does not help an attacker if SQL showed an earlier state while
    /// `state` was read.
    ///
    /// - Throws: ``StaleSession`` when the key or a row that grants access was changed since `state` was read.
    package func record(
        _ event: SecurityEvent, ifUnchangedSince state: OrganizationState, on connection: isolated PostgresConnection
    ) throws {
        try AttestedState.changeEvents(of: organization, under: deployment.kek, on: connection) { change in
            guard let known = state.attested, state.problem == nil, known.revision == change.state.revision,
                known.grantsDigest == change.state.grantsDigest
            else { throw StaleSession() }
            try change.append(event, by: caller, on: connection)
        }
    }

    /// Links the events of the last seconds into the chain, so that a reader sees these events. A failure is ignored, because the
    /// verification of the chain reports it.
    package func linkPendingEvents() async { try? await chainPendingEvents() }
}
