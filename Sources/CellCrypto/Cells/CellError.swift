/// A cell does not open: it is not a cell, belongs to another key or place, or is damaged. The error does not say which.
public struct CellError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Makes the error, which has no details.
    public init() {}

    /// One sentence without a reason: a reason would help an attacker.
    public var description: String { "the cell does not open" }
}
