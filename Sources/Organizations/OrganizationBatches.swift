import PostgresClient
import Tenancy

/// Runs a function that reads, for many organizations, in batches that run at the same time.
///
/// A PostgreSQL process keeps memory for each table that it has read. So each batch has a separate connection.
enum OrganizationBatches {
    /// How many organizations one connection reads.
    private static let size = 200
    /// How many connections read at a time.
    private static let parallelism = 4

    /// - Parameter body: Reads from a batch on the batch's connection.
    /// - Returns: The results in the order of the organizations.
    static func read<Value: Sendable>(
        _ organizations: [Organization],
        conninfo: String,
        _ body: @escaping @Sendable ([Organization], isolated PostgresConnection) throws -> [Value]
    ) async throws -> [Value] {
        let each = max(1, min(size, (organizations.count + parallelism - 1) / parallelism))
        var rest = organizations[...]
        var results: [Int: [Value]] = [:]
        try await withThrowingTaskGroup(of: (Int, [Value]).self) { group in
            func add() {
                guard let first = rest.indices.first else { return }
                let batch = Array(rest.prefix(each))
                rest = rest.dropFirst(each)
                group.addTask {
                    let connection = try await PostgresConnection.connect(conninfo, applicationName: "fieldseal command")
                    let values = try await connection.run { try body(batch, $0) }
                    await connection.close()
                    return (first, values)
                }
            }
            for _ in 0..<parallelism { add() }
            while let (first, values) = try await group.next() {
                results[first] = values
                add()
            }
        }
        return results.sorted { $0.key < $1.key }.flatMap(\.value)
    }
}
