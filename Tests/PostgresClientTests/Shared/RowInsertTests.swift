import PostgresClient
import TestSupport
import Testing

@Suite("Rows that callers insert together", .timeLimit(.minutes(2)))
struct RowInsertTests {
    private static let check = SharedStatement("SELECT 1 WHERE $1", [.bool(true)])

    /// A caller's row for each of two tables: a number, its owner, and an optional note.
    private static func rows(_ number: Int32, owner: String) -> [RowInsert] {
        [
            RowInsert(
                "INSERT INTO t SELECT added.*, $2 FROM unnest($1) AS added RETURNING n", own: [.int32(number)],
                shared: [.text(owner)]),
            RowInsert(
                "INSERT INTO note SELECT added.* FROM unnest($1, $2) AS added RETURNING n",
                own: [.int32(number), .text(number % 3 == 0 ? nil : "note \(number)")], shared: []),
        ]
    }

    private struct Outcome {
        let number: Int32
        /// The numbers of the rows that were inserted together; nil if the write failed.
        let together: [Int32]?
    }

    /// Runs writes that all wait at the same time, because the connection is busy.
    private func insert(
        _ numbers: [Int32], owner: @Sendable @escaping (Int32) -> String,
        _ body: @Sendable @escaping ([Outcome], PostgresConnection) async throws -> Void
    ) async throws {
        try await TestDatabase.with { database in
            let connection = SharedConnection(.init(conninfo: database.conninfo))
            let other = try await PostgresConnection.connect(database.conninfo)
            try await other.execute("CREATE TABLE t (n int PRIMARY KEY, owner text); CREATE TABLE note (n int, content text)")
            async let slow = connection.run([("SELECT 1 FROM pg_sleep(1)", [])])
            while connection.load == 0 { await Task.yield() }
            let outcomes = try await withThrowingTaskGroup(of: Outcome.self) { group in
                for number in numbers {
                    group.addTask {
                        do {
                            let results = try await connection.insert(Self.rows(number, owner: owner(number)), after: Self.check)
                            let found = try #require(results)
                            #expect(found.count == 2)
                            let (together, notes) = (try Self.numbers(found[0]), try Self.numbers(found[1]))
                            #expect(together == notes && together.contains(number))
                            return Outcome(number: number, together: together)
                        } catch let error as PostgresError {
                            #expect(error.sqlState == "23505")
                            return Outcome(number: number, together: nil)
                        }
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(try await slow?.count == 1)
            try await body(outcomes, other)
            connection.close()
        }
    }

    private static func numbers(_ rows: PostgresResult) throws -> [Int32] {
        try rows.map { Int32(try $0.decode(0, as: Int.self)) }
    }

    @Test("Rows of many callers are inserted by one statement for each table, and each caller finds its row in the result")
    func together() async throws {
        try await insert(Array(0..<24)) { _ in
            "one"
        } _: { outcomes, other in
            // Some writes may have arrived before the slow statement was sent, or after its response.
            #expect(outcomes.compactMap { $0.together?.count }.max() ?? 0 > 12)
            let kept = try await other.query(
                "SELECT n, owner, content FROM t JOIN note USING (n) ORDER BY n")
            let texts = try kept.map { row in
                let note = try row.decodeIfPresent(2, as: String.self) ?? "none"
                return "\(try row.decode(0, as: Int.self)) \(try row.decode(1, as: String.self)) \(note)"
            }
            #expect(texts == (0..<24).map { "\($0) one \($0 % 3 == 0 ? "none" : "note \($0)")" })
        }
    }

    @Test("Rows with different shared values are inserted by different statements")
    func otherSharedValues() async throws {
        try await insert(Array(0..<24)) {
            $0 % 2 == 0 ? "even" : "odd"
        } _: { outcomes, other in
            for outcome in outcomes {
                let together = try #require(outcome.together)
                #expect(together.allSatisfy { $0 % 2 == outcome.number % 2 })
            }
            let wrong = try await other.query("SELECT FROM t WHERE owner <> CASE n % 2 WHEN 0 THEN 'even' ELSE 'odd' END")
            #expect(wrong.isEmpty)
        }
    }

    @Test("If one row is refused, only its caller gets the error, and each other row is inserted once")
    func refused() async throws {
        let numbers = (0..<24).map { Int32($0) }
        try await insert(numbers + [7, 7]) { _ in
            "one"
        } _: { outcomes, other in
            #expect(outcomes.filter { $0.together == nil }.map(\.number) == [7, 7])
            let kept = try await other.query("SELECT n FROM t JOIN note USING (n) ORDER BY n")
            #expect(try Self.numbers(kept) == numbers)
        }
    }
}
