/// Statements of callers with the same check, as one transaction: the check once, then the statements of each caller.
///
/// It spares PostgreSQL a check and a commit for each caller but one.
struct SharedTransaction {
    /// The statements of one caller.
    struct Write: Sendable {
        let statements: [SharedConnection.Statement]
        let check: SharedStatement?
        let continuation: CheckedContinuation<[PostgresResult]?, any Error>
    }

    private let check: SharedStatement?
    private var writes: [Write]

    /// Merges writes that have the same check. A write without a check gets a separate transaction.
    static func merging(_ writes: [Write]) -> [SharedTransaction] {
        var merged: [SharedTransaction] = []
        for write in writes {
            if write.check != nil, let index = merged.firstIndex(where: { $0.check === write.check }) {
                merged[index].writes.append(write)
            } else {
                merged.append(SharedTransaction(check: write.check, writes: [write]))
            }
        }
        return merged
    }

    var statements: [SharedConnection.Statement] { checks + writes.flatMap(\.statements) }

    private var checks: [SharedConnection.Statement] { check.map { [$0.statement] } ?? [] }

    /// A transaction for each of the callers, if theirs was rolled back because of one of them.
    func separated(after result: Result<[PostgresResult], any Error>) -> [SharedTransaction] {
        guard writes.count > 1, case .failure(let error as PostgresError) = result, !error.isConnectionLoss else { return [] }
        return writes.map { SharedTransaction(check: check, writes: [$0]) }
    }

    /// Gives each caller the results of its statements, or the error.
    func answer(_ result: Result<[PostgresResult], any Error>) {
        switch result {
        case .success(let results):
            var start = checks.count
            for write in writes {
                let end = start + write.statements.count
                write.continuation.resume(returning: Array(results[start..<end]))
                start = end
            }
        case .failure(let error as PostgresError) where error.isGivenUp:
            for write in writes { write.continuation.resume(returning: nil) }
        case .failure(let error):
            for write in writes { write.continuation.resume(throwing: error) }
        }
    }
}

extension PostgresError {
    /// Whether nothing was done, because a statement waited too long for a lock, PostgreSQL rolled it back because of others, or
    /// its tables changed after it was prepared.
    fileprivate var isGivenUp: Bool { state == .lockNotAvailable || isRetryable }
}
