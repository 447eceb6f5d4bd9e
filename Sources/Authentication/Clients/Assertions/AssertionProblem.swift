import Crypto
import Foundation
import JSON
import Model

/// The reason for which an assertion is refused. It never quotes the assertion.
package struct AssertionProblem: Error, Sendable, Equatable {
    /// The text after "The client_assertion".
    package let reason: String

    init(_ reason: String) { self.reason = reason }
}
