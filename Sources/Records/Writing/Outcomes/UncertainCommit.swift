import Foundation
import Model
import PostgresClient
import Tenancy

/// The error of a connection that broke during a commit.
struct UncertainCommit: Error {
    /// The process id of the server process that was asked to commit.
    let backend: Int32
    /// The outcomes of the writes, if their results arrived before the COMMIT was sent.
    let outcomes: [WriteOutcome]?
}
