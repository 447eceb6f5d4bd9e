import CellCrypto
import Foundation
import JSON
import Model
import PostgresClient

/// A problem of a whole chain.
package struct EventChainProblem: Error {
    package let description: String
    init(_ description: String) { self.description = description }
}
