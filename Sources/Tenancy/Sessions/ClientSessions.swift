package import Foundation
import Model

/// Begins the sessions of one request of an API client whose token was verified.
///
/// A session may reuse the state that an earlier session of the client read. Only this type handles reused state that turns out
/// to be stale.
package struct ClientSessions: Sendable {
    private let deployment: Deployment
    private let organization: String
    private let client: UUID
    private let address: String?
    private let requestID: String
    private let signedInOn: Date?

    /// - Parameter signedInOn: The time at which the client authenticated for its token.
    package init(
        _ deployment: Deployment, organization: String, client: UUID, address: String?, requestID: String, signedInOn: Date?
    ) {
        self.deployment = deployment
        self.organization = organization
        self.client = client
        self.address = address
        self.requestID = requestID
        self.signedInOn = signedInOn
    }

    /// Runs a request in a session of the client.
    ///
    /// - Parameters:
    ///   - mayAssume: Whether the request only reads or writes records. If so, the request may run in a session that reuses earlier
    ///     state.
    ///   - onBegin: Called with each session that begins.
    ///   - body: The request. If the reused state is stale, the first run has changed nothing, and the request runs again in a
    ///     new session.
    /// - Throws: The errors of `body`; ``FieldsealError`` `.accessDenied` for a client that may not act, in place of any other
    ///   error.
    package func run<Answer>(
        mayAssume: Bool, onBegin: (Session) -> Void, _ body: (Session) async throws -> Answer
    ) async throws -> Answer {
        var assumed: RoleSet?
        func attempt(assuming: Bool) async throws -> Answer {
            let session = try await begin(assuming: assuming)
            onBegin(session)
            assumed = assuming ? session.caller.roles : nil
            return try await body(session)
        }
        do {
            return try await attempt(assuming: mayAssume)
        } catch is StaleSession {
            return try await attempt(assuming: false)
        } catch let error as FieldsealError {
            // The request failed, maybe before the reused state was checked. Beginning a new session checks the client, so that a
            // client without access gets no other error.
            let current = try await begin(assuming: false)
            onBegin(current)
            // The reused state may lack roles that were granted since. If the roles differ, the request is tried again.
            guard let assumed, assumed != current.caller.roles else { throw error }
            return try await attempt(assuming: false)
        }
    }

    private func begin(assuming: Bool) async throws -> Session {
        try await Session.begin(
            deployment, organization: organization, client: client, address: address, requestID: requestID, assuming: assuming,
            signedInOn: signedInOn)
    }
}
