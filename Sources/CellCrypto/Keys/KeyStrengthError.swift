import Foundation

/// A new organization key breaks the rule.
public struct KeyStrengthError: Error, Sendable, CustomStringConvertible {
    /// Every part of the rule that the key breaks; never empty.
    public let violations: [KeyStrength.Violation]

    /// The parts of the rule that the key breaks, followed by the whole rule.
    public var description: String {
        "the key is too weak: \(violations.map(\.rawValue).joined(separator: ", ")); "
            + "it needs 10 to 100 characters with at least one numeral, one letter and one symbol, and no white space"
    }
}
