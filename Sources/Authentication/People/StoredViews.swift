package import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

/// Views of lists that people store under a name.
package struct StoredViews: Sendable {
    private let deployment: Deployment

    package init(_ deployment: Deployment) { self.deployment = deployment }

    /// How many views of one list a person may store.
    package static let limit = 50
    /// The longest query of a view in bytes.
    package static let longestQuery = 2_000
    private static let longestName = 100

    /// A view as its list shows it.
    package struct View: Sendable {
        package let id: UUID
        package let name: String
        /// The query of the list's address.
        package let query: String
    }

    /// A person's views of a list, by name.
    package func all(of list: String, for signed: ConsoleSessions.AuthenticatedUser) async throws -> [View] {
        try await deployment.pool.withConnection { connection in
            try connection.query(
                "SELECT view_id, name, query FROM config.console_view WHERE user_id = $1 AND list = $2 ORDER BY lower(name)",
                [.uuid(signed.userID), .text(list)]
            ).map { View(id: try $0.decode(0), name: try $0.decode(1), query: try $0.decode(2)) }
        }
    }

    /// Stores a view.
    ///
    /// - Parameter replaces: Whether to replace a view with the same name.
    /// - Returns: The name of the existing view, if it has the same name and was not replaced; nil if the new view was stored.
    /// - Throws: ``FieldsealError`` for an empty or too long name, a too long query, or more than ``limit`` views.
    package func keep(
        _ name: String, query: String, of list: String, replaces: Bool, for signed: ConsoleSessions.AuthenticatedUser
    ) async throws -> String? {
        guard (1...Self.longestName).contains(name.unicodeScalars.count) else {
            throw FieldsealError(.invalidArgument, "The name of a view has 1 to 100 characters.")
        }
        guard query.utf8.count <= Self.longestQuery else {
            throw FieldsealError(.invalidArgument, "This view has too many filters to be kept.")
        }
        return try await deployment.pool.withConnection { connection in
            let kept = try connection.query(
                """
                INSERT INTO config.console_view AS v (view_id, user_id, list, name, query) SELECT $1, $2, $3, $4, $5
                 WHERE (SELECT count(*) FROM config.console_view
                         WHERE user_id = $2 AND list = $3 AND lower(name) <> lower($4)) < $6
                    ON CONFLICT (user_id, list, lower(name)) DO UPDATE SET name = excluded.name, query = excluded.query
                       WHERE $7 OR v.query = excluded.query
                RETURNING v.view_id
                """,
                [
                    .uuid(.timeOrdered()), .uuid(signed.userID), .text(list), .text(name), .text(query),
                    .int64(Int64(Self.limit)), .bool(replaces),
                ])
            guard kept.isEmpty else { return nil }
            let former = try connection.query(
                "SELECT name FROM config.console_view WHERE user_id = $1 AND list = $2 AND lower(name) = lower($3)",
                [.uuid(signed.userID), .text(list), .text(name)])
            guard let row = former.first else {
                throw FieldsealError(
                    .invalidArgument, "You keep \(Self.limit) views of this list already. Remove one of them first.")
            }
            return try row.decode(0)
        }
    }

    /// Removes a view of the person.
    package func remove(_ id: UUID, for signed: ConsoleSessions.AuthenticatedUser) async throws {
        try await deployment.pool.withConnection { connection in
            _ = try connection.query(
                "DELETE FROM config.console_view WHERE view_id = $1 AND user_id = $2", [.uuid(id), .uuid(signed.userID)])
        }
    }
}
