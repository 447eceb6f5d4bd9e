/// The result of a verification of the audit's blocks.
package struct AuditReport: Sendable {
    /// Blocks and entries that are not as they were sealed.
    package var problems: [String] = []
    /// How many more problems there are than `problems` lists.
    package private(set) var omitted = 0
    /// How many entries and blocks were verified.
    package var entries = 0
    package var blocks = 0
    /// How many entries are not sealed yet, and how many of them are so old that a running server would have sealed them.
    package var unsealed = 0
    package var overdue = 0

    /// How many problems are listed at most.
    private static let problemLimit = 100

    package init() {}

    mutating func add(_ problems: [String]) {
        for problem in problems { add(problem) }
    }

    mutating func add(_ problem: String) {
        if problems.count < Self.problemLimit { problems.append(problem) } else { omitted += 1 }
    }
}
