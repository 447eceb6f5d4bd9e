import Foundation
import Model

/// A value as the client wrote it. The type of the attribute decides how the literal is parsed.
package enum Literal: Sendable, Equatable {
    case null
    case bool(Bool)
    case number(String)
    /// A text in quotes, or other text that the attribute's type may accept.
    case text(String)
}
