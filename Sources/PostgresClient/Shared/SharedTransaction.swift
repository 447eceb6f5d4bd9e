/// Statements of callers with the same check, as one transaction: the check once, then the statements of the callers.
///
/// So PostgreSQL runs one check and one commit for all callers. Rows of several callers are inserted by one statement.
struct SharedTransaction {
    /// The statements of one caller.
    struct Write: Sendable {
        enum Content: Sendable {
            case statements([SharedConnection.Statement])
            case rows([RowInsert])

            /// The rows to insert; nil if the caller sent statements.
            var rows: [RowInsert]? { if case .rows(let rows) = self { rows } else { nil } }
        }

        let content: Content
        let check: SharedStatement?
        let continuation: CheckedContinuation<[PostgresResult]?, any Error>
    }

    private let check: SharedStatement?
    private var groups: [WriteGroup]

    private init(_ write: Write) {
        check = write.check
        groups = [WriteGroup(write)]
    }

    /// Merges writes that have the same check. A write without a check gets a separate transaction.
    static func merging(_ writes: [Write]) -> [SharedTransaction] {
        var merged: [SharedTransaction] = []
        for write in writes {
            if write.check != nil, let index = merged.firstIndex(where: { $0.check === write.check }) {
                merged[index].add(write)
            } else {
                merged.append(SharedTransaction(write))
            }
        }
        return merged
    }

    private mutating func add(_ write: Write) {
        for index in groups.indices where groups[index].add(write) { return }
        groups.append(WriteGroup(write))
    }

    var statements: [SharedConnection.Statement] { checks + groups.flatMap(\.statements) }

    private var checks: [SharedConnection.Statement] { check.map { [$0.statement] } ?? [] }

    private var writes: [Write] { groups.flatMap(\.writes) }

    /// Splits a failed transaction: one transaction for each caller, so that only the caller whose statements failed gets the
    /// error. Returns an empty list if there was only one caller, or the connection was lost.
    func separated(after result: Result<[PostgresResult], any Error>) -> [SharedTransaction] {
        let writes = writes
        guard writes.count > 1, case .failure(let error as PostgresError) = result, !error.isConnectionLoss else { return [] }
        return writes.map { SharedTransaction($0) }
    }

    /// Gives each caller the results of its statements, or the error.
    func answer(_ result: Result<[PostgresResult], any Error>) {
        switch result {
        case .success(let results):
            var start = checks.count
            for group in groups {
                let end = start + group.count
                for write in group.writes { write.continuation.resume(returning: Array(results[start..<end])) }
                start = end
            }
        case .failure(let error as PostgresError) where error.isGivenUp:
            for write in writes { write.continuation.resume(returning: nil) }
        case .failure(let error):
            for write in writes { write.continuation.resume(throwing: error) }
        }
    }
}

/// One write, or several that insert rows by the same statements.
private struct WriteGroup {
    private(set) var writes: [SharedTransaction.Write]

    init(_ write: SharedTransaction.Write) { writes = [write] }

    /// Adds a write, if its rows can be inserted together with those of this group.
    ///
    /// - Returns: Whether it was added.
    mutating func add(_ write: SharedTransaction.Write) -> Bool {
        guard let first = writes[0].content.rows, let added = write.content.rows, first.count == added.count,
            zip(first, added).allSatisfy({ $0.isMergeable(with: $1) })
        else { return false }
        writes.append(write)
        return true
    }

    /// How many statements the group has.
    var count: Int {
        switch writes[0].content {
        case .statements(let statements): statements.count
        case .rows(let rows): rows.count
        }
    }

    var statements: [SharedConnection.Statement] {
        if case .statements(let statements) = writes[0].content { return statements }
        let rows = writes.compactMap(\.content.rows)
        return (0..<count).map { index in RowInsert.merged(rows.map { $0[index] }) }
    }
}

extension PostgresError {
    /// True if nothing was done because of a lock, a concurrent transaction, or a stale prepared plan. The caller should then try a
    /// separate connection.
    fileprivate var isGivenUp: Bool { state == .lockNotAvailable || isRetryable }
}
