import Foundation
import PostgresClient
import TestSupport
import Testing

@Suite("A connection that many callers share", .timeLimit(.minutes(2)))
struct SharedConnectionTests {
    private func shared(
        _ change: (inout SharedConnection.Configuration) -> Void = { _ in },
        _ body: @Sendable @escaping (SharedConnection, PostgresConnection) async throws -> Void
    ) async throws {
        var configuration = SharedConnection.Configuration(conninfo: "")
        change(&configuration)
        let limits = configuration
        try await TestDatabase.with { database in
            var configuration = limits
            configuration.conninfo = database.conninfo
            let connection = SharedConnection(configuration)
            let other = try await PostgresConnection.connect(database.conninfo)
            try await other.execute("CREATE TABLE t (n int PRIMARY KEY)")
            try await body(connection, other)
            connection.close()
        }
    }

    private func number(_ results: [PostgresResult]?) throws -> Int? { try results.map { try $0[0][0].decode(0) } }

    @Test("Each caller gets the results of its own statements")
    func answers() async throws {
        try await shared { connection, _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<200 {
                    group.addTask {
                        let results = try await connection.run([
                            ("INSERT INTO t VALUES ($1) RETURNING n", [.int32(Int32(number))]), ("SELECT 1", []),
                        ])
                        #expect(try self.number(results) == number)
                    }
                }
                try await group.waitForAll()
            }
            let count = try await connection.run([("SELECT count(*) FROM t", [])])
            #expect(try self.number(count) == 200)
        }
    }

    @Test("If a statement fails, only its caller gets the error, and the caller's other statements are rolled back")
    func errors() async throws {
        try await shared { connection, _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<100 {
                    group.addTask {
                        let divisor = Int32(number % 2)
                        let statements: [SharedConnection.Statement] = [
                            ("INSERT INTO t VALUES ($1)", [.int32(Int32(number))]), ("SELECT 1 / $1", [.int32(divisor)]),
                        ]
                        if divisor == 0 {
                            let error = await #expect(throws: PostgresError.self) { try await connection.run(statements) }
                            #expect(error?.sqlState == "22012")
                        } else {
                            let results = try await connection.run(statements)
                            #expect(results?.count == 2)
                        }
                    }
                }
                try await group.waitForAll()
            }
            let count = try await connection.run([("SELECT count(*) FROM t", [])])
            #expect(try self.number(count) == 50)
        }
    }

    /// Runs writes that all wait at the same time, because the connection is busy. Writes with even numbers have one check, and
    /// writes with odd numbers have another check.
    ///
    /// - Returns: For each write, the id of its transaction; nil if the write failed.
    private func waiting(
        _ count: Int, on connection: SharedConnection, divisor: @Sendable @escaping (Int) -> Int
    ) async throws -> [Int?] {
        let checks = [Self.check, SharedStatement("SELECT 2 WHERE $1", [.bool(true)])]
        async let slow = connection.run([("SELECT 1 FROM pg_sleep(1)", [])])
        while connection.load == 0 { await Task.yield() }
        let transactions = try await withThrowingTaskGroup(of: (Int, Int?).self) { group in
            for number in 0..<count {
                group.addTask {
                    let statements: [SharedConnection.Statement] = [
                        ("INSERT INTO t VALUES ($1) RETURNING n, txid_current()", [.int32(Int32(number))]),
                        ("SELECT $1 / $2", [.int32(Int32(number)), .int32(Int32(divisor(number)))]),
                    ]
                    do {
                        let results = try #require(try await connection.run(statements, after: checks[number % 2]))
                        let (row, quotient) = (results[0][0], try results[1][0].decode(0, as: Int.self))
                        let inserted = try row.decode(0, as: Int.self)
                        #expect(results.count == 2 && inserted == number && quotient == number)
                        return (number, try row.decode(1, as: Int.self))
                    } catch let error as PostgresError {
                        #expect(error.sqlState == "22012" && divisor(number) == 0)
                        return (number, nil)
                    }
                }
            }
            return try await group.reduce(into: [Int?](repeating: nil, count: count)) { $0[$1.0] = $1.1 }
        }
        #expect(try await slow?.count == 1)
        return transactions
    }

    @Test("Waiting writes with the same check are one transaction, and writes with another check are another transaction")
    func sharedWrites() async throws {
        try await shared { connection, _ in
            let transactions = try await self.waiting(24, on: connection) { _ in 1 }
            let (even, odd) = (0..<24).reduce(into: (Set<Int?>(), Set<Int?>())) {
                if $1 % 2 == 0 { $0.0.insert(transactions[$1]) } else { $0.1.insert(transactions[$1]) }
            }
            // Some writes may have arrived before the slow statement was sent, or after its response.
            #expect(even.count < 6 && odd.count < 6 && !even.contains(nil) && !odd.contains(nil))
            #expect(even.isDisjoint(with: odd))
        }
    }

    @Test("If a write in a shared transaction fails, only its caller gets the error, and each other write takes effect once")
    func failedAmongShared() async throws {
        try await shared { connection, other in
            let transactions = try await self.waiting(24, on: connection) { $0 % 6 == 0 ? 0 : 1 }
            let done = (0..<24).filter { transactions[$0] != nil }
            #expect(done == (0..<24).filter { $0 % 6 != 0 })
            let kept = try await other.query("SELECT n FROM t ORDER BY n")
            let numbers: [Int] = try kept.map { try $0.decode(0) }
            #expect(numbers == done)
        }
    }

    @Test("If a check fails, all writes with this check are refused, and none takes effect")
    func failedCheck() async throws {
        try await shared { connection, other in
            let refusal = SharedStatement("SELECT 1 / $1", [.int32(0)])
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<20 {
                    group.addTask {
                        let error = await #expect(throws: PostgresError.self) {
                            try await connection.run([("INSERT INTO t VALUES ($1)", [.int32(Int32(number))])], after: refusal)
                        }
                        #expect(error?.sqlState == "22012")
                    }
                }
            }
            let kept = try await other.query("SELECT FROM t")
            #expect(kept.isEmpty)
        }
    }

    @Test("A caller whose statement waits for a lock gets nil, and so does every caller for a while; nothing takes effect")
    func locks() async throws {
        try await shared({ $0.rest = .milliseconds(200) }) { connection, other in
            let insert: [SharedConnection.Statement] = [("INSERT INTO t VALUES (1)", [])]
            try await other.execute("BEGIN; LOCK TABLE t")
            let met = try await connection.run(insert)
            let later = try await connection.run([("SELECT 1", [])])
            #expect(met == nil && later == nil)
            try await other.execute("COMMIT")
            var results: [PostgresResult]?
            while results == nil { results = try await connection.run(insert) }
            let count = try await connection.run([("SELECT count(*) FROM t", [])])
            #expect(try self.number(count) == 1)
        }
    }

    @Test("If the connection breaks, its current callers get an error, and later callers use a new connection")
    func replacement() async throws {
        try await shared({ $0.rest = .milliseconds(1) }) { connection, other in
            let process = try self.number(try await connection.run([("SELECT pg_backend_pid()", [])])) ?? 0
            let error = await #expect(throws: PostgresError.self) {
                try await connection.run([("SELECT pg_terminate_backend($1), pg_sleep(5)", [.int32(Int32(process))])])
            }
            #expect(error?.isConnectionLoss == true)
            var results: [PostgresResult]?
            while results == nil { results = try await connection.run([("SELECT pg_backend_pid()", [])]) }
            #expect(try self.number(results) != process)
            connection.close()
            let closed = try await connection.run([("SELECT 1", [])])
            #expect(closed == nil)
        }
    }

    private static let check = SharedStatement("SELECT 1 WHERE $1", [.bool(true)])

    /// The number that belongs to an id, and the transaction in which it was read.
    private static let numbers = SharedStatement(
        "SELECT id, n, txid_current() FROM numbers WHERE id = ANY ($1) AND n < $2", [.int32(50)])

    private func row(of id: UUID, in rows: PostgresResult) throws -> PostgresRow? {
        try rows.first { try $0.decode(0, as: UUID.self) == id }
    }

    @Test("Waiting lookups are one transaction, and each caller finds its row in the result")
    func lookups() async throws {
        try await shared { connection, other in
            try await other.execute("CREATE TABLE numbers (id uuid PRIMARY KEY, n int)")
            let ids = (0..<100).map { _ in UUID() }
            for (number, id) in ids.enumerated() {
                try await other.query("INSERT INTO numbers VALUES ($1, $2)", [.uuid(id), .int32(Int32(number))])
            }
            async let slow = connection.run([("SELECT 1 FROM pg_sleep(1)", [])])
            while connection.load == 0 { await Task.yield() }
            let transactions = try await withThrowingTaskGroup(of: Int?.self) { group in
                for (number, id) in ids.enumerated() {
                    group.addTask {
                        let rows = try #require(await connection.lookUp(id, with: Self.numbers, after: Self.check))
                        let row = try self.row(of: id, in: rows)
                        #expect(try row?.decode(1, as: Int.self) == (number < 50 ? number : nil))
                        return try row?.decode(2)
                    }
                }
                return try await group.reduce(into: Set()) { $0.insert($1) }
            }
            #expect(try await slow?.count == 1)
            // Some lookups may have arrived before the slow statement was sent, or after its response, and so in other
            // transactions.
            #expect(transactions.compactMap(\.self).count < 5)
        }
    }

    @Test("A lookup whose check fails, or that waits for a lock, returns nil; the next lookup works")
    func refusedLookups() async throws {
        try await shared({ $0.rest = .milliseconds(1) }) { connection, other in
            let id = UUID()
            try await other.execute("CREATE TABLE numbers (id uuid PRIMARY KEY, n int)")
            try await other.query("INSERT INTO numbers VALUES ($1, 1)", [.uuid(id)])
            let refusal = SharedStatement("SELECT 1 / $1", [.int32(0)])
            let refused = await connection.lookUp(id, with: Self.numbers, after: refusal)
            try await other.execute("BEGIN; LOCK TABLE numbers")
            let locked = await connection.lookUp(id, with: Self.numbers, after: Self.check)
            try await other.execute("COMMIT")
            #expect(refused == nil && locked == nil)
            var found: PostgresResult?
            while found == nil { found = await connection.lookUp(id, with: Self.numbers, after: Self.check) }
            #expect(found?.count == 1)
            connection.close()
            let closed = await connection.lookUp(id, with: Self.numbers, after: Self.check)
            #expect(closed == nil)
        }
    }

    @Test("More different statements can be run than a connection keeps prepared")
    func shapes() async throws {
        try await shared { connection, _ in
            for number in 0..<1_100 {
                let results = try await connection.run([("SELECT \(number)", [])])
                #expect(try self.number(results) == number)
            }
        }
    }
}
