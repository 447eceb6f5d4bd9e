package import CellCrypto
package import Foundation
import JSON
package import Model
package import PostgresClient

/// A problem of a whole chain.
package struct EventChainProblem: Error {
    package let description: String
    init(_ description: String) { self.description = description }
}
