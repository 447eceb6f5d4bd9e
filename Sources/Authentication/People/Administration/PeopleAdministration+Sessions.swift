package import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

// How an administrator lists and ends a person's sessions.
extension PeopleAdministration {
    /// The running sessions of a person, the most recently used first.
    package func sessions(of id: UUID) async throws -> [ConsoleSessions.Entry] {
        try await deployment.pool.withConnection { connection in
            try ConsoleSessions.entries(of: id, in: organization, token: [], on: connection)
        }
    }

    /// Ends one session of a person.
    ///
    /// - Parameter entry: A ``ConsoleSessions/Entry/id``.
    /// - Throws: ``FieldsealError`` for a session that has ended.
    package func endSession(_ entry: String, of id: UUID) async throws {
        try await change(id) { user, change, connection in
            guard let hash = bytes(hexadecimal: entry), try ConsoleSessions.endOne(hash, &change, on: connection) else {
                throw FieldsealError(.objectDoesNotExist, "This session has ended already.")
            }
            try change.append(
                SecurityEvent(.userChanged, .succeeded, details: "\(user.name): a session ended"), by: caller,
                on: connection)
        }
    }

    /// Ends all sessions of a person.
    package func endSessions(of id: UUID) async throws {
        try await change(id) { user, change, connection in
            try change.endSessions(of: id, on: connection)
            try change.append(
                SecurityEvent(.userChanged, .succeeded, details: "\(user.name): sessions ended"), by: caller,
                on: connection)
        }
    }
}
