public import Foundation

/// The caller to whom a pool lends connections. The pool limits how many each borrower holds, so that other borrowers get
/// connections too.
public enum PoolBorrower: Hashable, Sendable {
    /// A client of the API or a person of the console, whose credentials were verified.
    case principal(UUID)
    /// A network, for requests before they are authenticated.
    case network(String)

    /// The borrower of the current task; nil for the program's own work, which has no limit.
    @TaskLocal public static var current: PoolBorrower?
}
