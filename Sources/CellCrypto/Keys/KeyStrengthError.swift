import Foundation

/// A new organization key breaks the rule.
public struct KeyStrengthError: Error, Sendable, CustomStringConvertible {
    /// Every part that is broken; never empty.
    public let violations: [KeyStrength.Violation]

    /// The rules that the key breaks, and all of the rules.
    public var description: String {
        "the key is too weak: \(violations.map(\.rawValue).joined(separator: ", ")); "
            + "it needs 10 to 100 characters with at least one numeral, one letter and one symbol, and no white space"
    }
}
