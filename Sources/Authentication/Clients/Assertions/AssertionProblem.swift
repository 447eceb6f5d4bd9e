import Crypto
import Foundation
import JSON
import Model

/// The reason for which an assertion is refused. The reason never quotes the assertion.
package struct AssertionProblem: Error, Sendable, Equatable {
    /// The reason as the end of a sentence that begins with "The client_assertion", such as "is expired".
    package let reason: String

    init(_ reason: String) { self.reason = reason }
}
