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

    /// Links waiting events, so that a reader of the chain sees those of the last seconds. If that fails, the chain's
    /// verification reports why.
    package func linkPendingEvents() async { try? await chainPendingEvents() }
}
