/// Bytes do not open as a cell: they are not a cell, belong to another key or place, or are damaged. The error does not say which.
public struct CellError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Makes the error, which has no details.
    public init() {}

    /// One sentence without a reason: a reason would help an attacker.
    public var description: String { "the cell does not open" }
}
