import Dispatch
public import Foundation
import Glibc

/// A statement that many callers send. Two objects are two statements, even with the same SQL.
public final class SharedStatement: Sendable {
    /// The SQL and its own parameters.
    public let statement: SharedConnection.Statement

    /// Makes a statement of its SQL and its own parameters.
    public init(_ sql: String, _ parameters: [PostgresParameter] = []) {
        statement = (sql, parameters)
    }

    /// The statement with the ids as its first parameter, before the statement's own parameters.
    public func statement(for ids: [UUID]) -> SharedConnection.Statement {
        (statement.sql, [.uuids(ids)] + statement.parameters)
    }
}
