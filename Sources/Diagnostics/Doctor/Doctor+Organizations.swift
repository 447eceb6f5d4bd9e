import Organizations
import PostgresClient
import Synchronization

extension Doctor {
    /// How many organizations are examined at a time, each on its own connection.
    private static let parallelism = 4

    /// Examines organizations, several at a time.
    ///
    /// - Throws: ``PostgresError`` when the connection to the database is lost. A problem of one organization is a finding.
    func examine(
        _ entries: [OrganizationEntry], _ reference: SchemaReference?, opensCells: Bool, into report: FindingReport
    ) async throws -> FindingReport {
        let examination = Examination(entries, report)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<min(Self.parallelism, entries.count) {
                group.addTask {
                    var connection = try await connect()
                    while let entry = examination.next() {
                        examination.add(try await everything(of: entry, reference, opensCells: opensCells, on: connection))
                        guard await connection.isWorn else { continue }
                        await connection.close()
                        connection = try await connect()
                    }
                    await connection.close()
                }
            }
            try await group.waitForAll()
        }
        return examination.report
    }
}

/// The organizations that are still to be examined, and the findings so far.
private final class Examination: Sendable {
    private let state: Mutex<(remaining: ArraySlice<OrganizationEntry>, report: FindingReport)>

    init(_ entries: [OrganizationEntry], _ report: FindingReport) { state = Mutex((entries[...], report)) }

    var report: FindingReport { state.withLock(\.report) }

    func next() -> OrganizationEntry? { state.withLock { $0.remaining.popFirst() } }

    func add(_ findings: [Finding]) {
        state.withLock {
            $0.report.add(findings)
            $0.report.organizations += 1
        }
    }
}
