import JSON
import Tenancy

/// The reason for which events could not be sent.
struct ReceiverProblem: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
