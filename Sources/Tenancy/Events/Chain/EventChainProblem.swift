import CellCrypto
import Foundation
import JSON
import Model
import PostgresClient

/// A problem that ends the verification of an event chain, or of the audit's blocks.
package struct EventChainProblem: Error {
    package let description: String
    init(_ description: String) { self.description = description }
}
