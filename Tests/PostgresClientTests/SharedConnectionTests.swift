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
            await connection.close()
        }
    }

    private func number(_ results: [PostgresResult]?) throws -> Int? { try results.map { try $0[0][0].decode(0) } }

    @Test("Each caller has his own answer")
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

    @Test("An error is its caller's alone, and takes his other statements back")
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

    @Test("Who meets a lock is sent elsewhere, with nothing done, and so is everybody for a while")
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

    @Test("A connection that broke is an error for who used it, and is replaced")
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
            await connection.close()
            let closed = try await connection.run([("SELECT 1", [])])
            #expect(closed == nil)
        }
    }

    @Test("More shapes of statements than a connection keeps prepared are no harm")
    func shapes() async throws {
        try await shared { connection, _ in
            for number in 0..<1_100 {
                let results = try await connection.run([("SELECT \(number)", [])])
                #expect(try self.number(results) == number)
            }
        }
    }
}
