import CellCrypto
package import Foundation
import PostgresClient
import Tenancy

// How a person lists and ends their own sessions.
extension ConsoleSessions {
    /// A session in the person's list.
    package struct Entry: Sendable {
        /// Identifies the session in a form: the token's whole SHA-256. A shorter id could also match a row that SQL made.
        package let id: String
        package let address: String?
        package let createdOn: Date
        package let usedOn: Date
        /// Whether the session is the current one.
        package let isCurrent: Bool
    }

    /// The running sessions of a person, the most recently used first.
    package func running(for signed: AuthenticatedUser, token: String) async throws -> [Entry] {
        let own = try Self.hash(token)
        return try await deployment.pool.withConnection { connection in
            try Self.entries(of: signed.userID, in: signed.session.organization, token: own, on: connection)
        }
    }

    /// - Parameter token: The hash of the current session's token.
    static func entries(
        of user: UUID, in organization: Organization, token own: [UInt8], on connection: isolated PostgresConnection
    ) throws -> [Entry] {
        try connection.query(
            """
            SELECT s.token_hash, s.address, s.created_on, s.used_on FROM config.console_session AS s
              JOIN config.console_user AS u USING (user_id)
             WHERE u.organization_id = $1 AND u.user_id = $2 AND \(isRunning) ORDER BY s.used_on DESC LIMIT 100
            """, [.uuid(organization.id), .uuid(user)]
        ).map { row in
            let hash = try row.decode(0, as: PostgresBytes.self).bytes
            return Entry(
                id: hexadecimal(hash), address: try row.decodeIfPresent(1), createdOn: try row.decode(2),
                usedOn: try row.decode(3), isCurrent: hash == own)
        }
    }

    /// Ends one session of a person, but not the current one.
    ///
    /// - Parameter id: An ``Entry/id``.
    package func end(_ id: String, of signed: AuthenticatedUser, token: String) async throws {
        guard let ended = bytes(hexadecimal: id), try ended != Self.hash(token) else { return }
        let caller = signed.session.caller
        try await deployment.pool.withConnection { connection in
            try AttestedState.change(of: signed.session.organization, under: deployment.kek, on: connection) { change in
                guard try Self.endOne(ended, &change, on: connection) else { return }
                try change.append(
                    SecurityEvent(.signedOut, .succeeded, details: "another session"), by: caller, on: connection)
            }
        }
    }

    /// Ends one session, even if SQL hid its row or assigned it to another person.
    ///
    /// - Returns: False if the session had ended already.
    static func endOne(
        _ tokenHash: [UInt8], _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws -> Bool {
        let isListed = try change.names(.session(tokenHash))
        try end("token_hash = $1", [.bytes(tokenHash)], &change, on: connection)
        try change.remove(.session(tokenHash))
        return isListed
    }
}
