import Foundation
import PostgresClient
import TestSupport
import Testing

@Suite("Connections to a real PostgreSQL", .timeLimit(.minutes(2)))
struct ConnectionTests {
    private func connected<Result: Sendable>(
        _ body: @Sendable @escaping (isolated PostgresConnection) async throws -> Result
    ) async throws -> Result {
        try await TestDatabase.with { database in
            let connection = try await PostgresConnection.connect(database.conninfo)
            return try await connection.run(body)
        }
    }

    @Test("Values of every type are sent and received unchanged in the binary format")
    func values() async throws {
        try await connected { connection in
            let id = UUID()
            let date = Date(timeIntervalSince1970: 1_790_000_000.123456)
            let row = try connection.query(
                "SELECT $1::text, $2::bytea, $3::uuid, $4::bool, $5::int4, $6::int8, $7::float8, $8::timestamptz, $9::uuid[], $10::text[]",
                [
                    .text("héllo \u{1F511}"), .bytes([0, 255, 1]), .uuid(id), .bool(true), .int32(-5), .int64(.max), .double(1.5),
                    .timestamp(date), .uuids([id, id]), .texts(["a", ""]),
                ])[0]
            #expect(try row.decode(0, as: String.self) == "héllo \u{1F511}")
            #expect(try row.decode(1, as: PostgresBytes.self).bytes == [0, 255, 1])
            #expect(try row.decode(2, as: UUID.self) == id)
            #expect(try row.decode(3, as: Bool.self))
            #expect(try row.decode(4, as: Int.self) == -5)
            #expect(try row.decode(5, as: Int.self) == .max)
            #expect(try row.decode(6, as: Double.self) == 1.5)
            #expect(abs(try row.decode(7, as: Date.self).timeIntervalSince(date)) < 0.000_002)
            #expect(try row.decode(8, as: [UUID].self) == [id, id])
            #expect(try row.decode(9, as: [String].self) == ["a", ""])
        }
    }

    @Test("NULL and an empty value are distinguished, and a wrong type is an error that names the column")
    func nulls() async throws {
        try await connected { connection in
            let row = try connection.query(
                "SELECT $1::text AS a, $2::text AS b, $3::bytea, $4::uuid[]", [.text(nil), .text(""), .bytes([]), .uuids([])])[0]
            #expect(try row.decodeIfPresent(0, as: String.self) == nil)
            #expect(try row.decode(1, as: String.self) == "")
            #expect(try row.decode(2, as: PostgresBytes.self).bytes == [])
            #expect(try row.decode(3, as: [UUID].self) == [])
            let error = #expect(throws: PostgresDecodingError.self) { try row.decode(1, as: UUID.self) }
            #expect(error?.column == "b")
            #expect(throws: PostgresDecodingError.self) { try row.decode(0, as: String.self) }
            #expect(throws: PostgresDecodingError.self) { try row.decode(9, as: String.self) }
        }
    }

    @Test("An error has SQLSTATE, table, column and constraint, but never a value")
    func errors() async throws {
        try await connected { connection in
            try connection.execute("CREATE TABLE t (a text NOT NULL, b int CONSTRAINT positive CHECK (b > 0), PRIMARY KEY (a))")
            let insert = "INSERT INTO t VALUES ($1, $2)"
            _ = try connection.query(insert, [.text("canary-1"), .int32(1)])
            let unique = #expect(throws: PostgresError.self) { try connection.query(insert, [.text("canary-1"), .int32(1)]) }
            #expect(unique?.sqlState == "23505" && unique?.constraint == "t_pkey" && unique?.table == "t")
            let check = #expect(throws: PostgresError.self) { try connection.query(insert, [.text("canary-2"), .int32(-1)]) }
            #expect(check?.sqlState == "23514" && check?.constraint == "positive")
            let null = #expect(throws: PostgresError.self) { try connection.query(insert, [.text(nil), .int32(1)]) }
            #expect(null?.sqlState == "23502" && null?.column == "a")
            for error in [unique, check, null] {
                #expect(!"\(String(reflecting: error))".contains("canary"))
            }
        }
    }

    @Test("A transaction is committed when its body returns and rolled back when it throws")
    func transactions() async throws {
        struct Stop: Error {}
        try await connected { connection in
            try connection.execute("CREATE TABLE t (a int)")
            try connection.transaction { _ = try connection.query("INSERT INTO t VALUES (1)") }
            #expect(throws: Stop.self) {
                try connection.transaction {
                    _ = try connection.query("INSERT INTO t VALUES (2)")
                    throw Stop()
                }
            }
            #expect(throws: PostgresError.self) {
                try connection.transaction {
                    _ = try? connection.query("SELECT 1 / 0")
                }
            }
            #expect(try connection.query("SELECT count(*) FROM t")[0].decode(0, as: Int.self) == 1)
            let isIdle = connection.isIdle
            #expect(isIdle)
        }
    }

    @Test("Either all statements of a pipeline take effect, or none does and the first error is thrown")
    func pipeline() async throws {
        try await connected { connection in
            try connection.execute("CREATE TABLE t (a int PRIMARY KEY)")
            let insert = "INSERT INTO t VALUES ($1) RETURNING a"
            let results = try connection.pipeline((0..<300).map { (insert, [.int32($0)]) })
            #expect(results.count == 300)
            #expect(try results[299][0].decode(0, as: Int.self) == 299)
            let error = #expect(throws: PostgresError.self) {
                try connection.pipeline([(insert, [.int32(300)]), (insert, [.int32(5)]), (insert, [.int32(301)])])
            }
            #expect(error?.sqlState == "23505")
            #expect(try connection.query("SELECT count(*) FROM t")[0].decode(0, as: Int.self) == 300)
            #expect(throws: PostgresError.self) { try connection.pipeline([("SELECT nonsense", [])]) }
            #expect(try connection.pipeline([(insert, [.int32(302)])]).count == 1)
        }
    }

    @Test("COPY streams rows in both directions, and an error on either side cancels it")
    func copy() async throws {
        struct Stop: Error {}
        try await connected { connection in
            try connection.execute("CREATE TABLE t (a int NOT NULL)")
            let rows = try connection.copyIn("COPY t FROM STDIN") { write in
                for number in 0..<1_000 { try Array("\(number)\n".utf8).withUnsafeBytes { try write($0) } }
            }
            #expect(rows == 1_000)
            var seen = 0
            #expect(try connection.copyOut("COPY t TO STDOUT") { _ in seen += 1 } == 1_000)
            #expect(seen == 1_000)
            #expect(throws: Stop.self) {
                try connection.copyOut("COPY (SELECT generate_series(1, 1000000)) TO STDOUT") { _ in throw Stop() }
            }
            #expect(throws: Stop.self) { try connection.copyIn("COPY t FROM STDIN") { _ in throw Stop() } }
            #expect(throws: PostgresError.self) {
                try connection.copyIn("COPY t FROM STDIN") { write in try Array("x\n".utf8).withUnsafeBytes { try write($0) } }
            }
            #expect(try connection.query("SELECT count(*) FROM t")[0].decode(0, as: Int.self) == 1_000)
        }
    }

    @Test("Cancelling a task cancels its query on the server")
    func cancellation() async throws {
        try await TestDatabase.with { database in
            let connection = try await PostgresConnection.connect(database.conninfo)
            let observer = try await PostgresConnection.connect(database.conninfo)
            let pid = await connection.backendID
            let task = Task { try await connection.run { _ = try $0.query("SELECT pg_sleep(600)") } }
            func isRunning() async throws -> Bool {
                try await observer.run { observer in
                    try observer.query("SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1", [.int32(pid)])[0].decode(0)
                }
            }
            while try await !isRunning() { await Task.yield() }
            task.cancel()
            let error = await #expect(throws: PostgresError.self) { try await task.value }
            #expect(error?.sqlState == "57014")
            #expect(try await !isRunning())
        }
    }

    @Test("A pool opens at most its limit of connections, replaces a closed one, and refuses a caller after the time limit")
    func pool() async throws {
        try await TestDatabase.with { database in
            let pool = ConnectionPool(.init(conninfo: database.conninfo, limit: 3, waitLimit: .seconds(60)))
            let pids = try await withThrowingTaskGroup(of: Int32.self) { group in
                for _ in 0..<60 { group.addTask { try await pool.withConnection { $0.backendID } } }
                return try await group.reduce(into: Set<Int32>()) { $0.insert($1) }
            }
            #expect((1...3).contains(pids.count))
            let observer = try await PostgresConnection.connect(database.conninfo)
            try await observer.run { observer in
                _ = try observer.query(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            }
            let fresh = try await pool.withConnection { $0.backendID }
            #expect(!pids.contains(fresh))

            let small = ConnectionPool(.init(conninfo: database.conninfo, limit: 1, waiterLimit: 0))
            _ = try await small.withConnection { _ in
                await #expect(throws: PoolError.exhausted) { try await small.withConnection { _ in } }
            }
            let slow = ConnectionPool(.init(conninfo: database.conninfo, limit: 1, waitLimit: .milliseconds(50)))
            _ = try await slow.withConnection { _ in
                await #expect(throws: PoolError.exhausted) { try await slow.withConnection { _ in } }
            }
            await pool.close()
            await #expect(throws: PoolError.closed) { try await pool.withConnection { _ in } }
        }
    }

    @Test("A connection in a failed transaction is not lent again")
    func leftInTransaction() async throws {
        try await TestDatabase.with { database in
            let pool = ConnectionPool(.init(conninfo: database.conninfo, limit: 1))
            let first = try await pool.withConnection { connection in
                try connection.execute("BEGIN")
                return connection.backendID
            }
            #expect(try await pool.withConnection { $0.backendID } != first)
        }
    }

    @Test("A connection to a wrong address fails with a connection error that does not contain the password")
    func refusedConnection() async throws {
        let error = await #expect(throws: PostgresError.self) {
            try await PostgresConnection.connect("host=/nonexistent dbname=x password=canary-password")
        }
        #expect(error?.isConnectionLoss == true)
        #expect(!"\(String(reflecting: error))".contains("canary-password"))
    }
}
