package import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

// The sessions of a person, for administrators.
extension ConsoleUsers {
    /// The running sessions of a person, the most recently used first.
    package func sessions(of id: UUID, by session: Session) async throws -> [ConsoleSessions.Entry] {
        try session.requireSystemAdministrator(to: "manage console users")
        return try await deployment.pool.withConnection { connection in
            try ConsoleSessions.entries(of: id, in: session.organization, token: [], on: connection)
        }
    }

    /// Ends one session of a person.
    ///
    /// - Parameter entry: A ``ConsoleSessions/Entry/id``.
    /// - Throws: ``FieldsealError`` for a session that has ended.
    package func endSession(_ entry: String, of id: UUID, by session: Session) async throws {
        try session.requireSystemAdministrator(to: "manage console users")
        try await change(id, by: session) { user, change, connection in
            let condition = "user_id = $1 AND left(encode(token_hash, 'hex'), 32) = $2"
            let parameters: [PostgresParameter] = [.uuid(id), .text(entry)]
            let rows = try connection.query("SELECT FROM config.console_session WHERE \(condition)", parameters)
            guard !rows.isEmpty else { throw FieldsealError(.objectDoesNotExist, "This session has ended already.") }
            try ConsoleSessions.end(condition, parameters, &change, on: connection)
            try change.append(
                SecurityEvent(.userChanged, .succeeded, details: "\(user.name): a session ended"), by: session.caller,
                on: connection)
        }
    }
}
