public import Foundation

/// The caller for whom a pool lends connections: no borrower gets more than its share, so that one leaves the others served.
public enum PoolBorrower: Hashable, Sendable {
    /// A client of the API or a person of the console, whose credentials were verified.
    case principal(UUID)
    /// A network, for requests before they are authenticated.
    case network(String)

    /// The borrower of the task that runs; nil for the program's own work, which has no share.
    @TaskLocal public static var current: PoolBorrower?
}
