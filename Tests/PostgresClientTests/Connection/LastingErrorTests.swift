import PostgresClient
import TestSupport
import Testing

@Suite("Errors that persist, and conflicts of transactions", .timeLimit(.minutes(2)))
struct LastingErrorTests {
    @Test("An error 0A000 that persists is thrown each time, and the connection stays usable")
    func unsupported() async throws {
        try await TestDatabase.with { database in
            let connection = try await PostgresConnection.connect(database.conninfo)
            try await connection.run { connection in
                let raise = "SELECT raise_unsupported($1)"
                try connection.execute(
                    """
                    CREATE FUNCTION raise_unsupported(int) RETURNS int LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '0A000'; END $$
                    """)
                for _ in 0..<3 {
                    let error = #expect(throws: PostgresError.self) { try connection.query(raise, [.int32(1)]) }
                    #expect(error?.sqlState == "0A000")
                    #expect(throws: PostgresError.self) { try connection.pipeline([(raise, [.int32(1)])]) }
                }
                #expect(try connection.query("SELECT 1")[0].decode(0, as: Int.self) == 1)
            }
        }
    }

    @Test("If a deferred constraint fails at a pipeline's commit, the pipeline throws the error")
    func lateFailure() async throws {
        try await TestDatabase.with { database in
            let connection = try await PostgresConnection.connect(database.conninfo)
            try await connection.run { connection in
                try connection.execute("CREATE TABLE t (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
                let insert = "INSERT INTO t VALUES ($1)"
                let error = #expect(throws: PostgresError.self) {
                    try connection.pipeline([(insert, [.int32(1)]), (insert, [.int32(1)])])
                }
                #expect(error?.sqlState == "23505")
                #expect(try connection.query("SELECT count(*) FROM t")[0].decode(0, as: Int.self) == 0)
            }
        }
    }

    @Test("A transaction that fails because of a conflict is run again, up to a limit")
    func conflicts() async throws {
        try await TestDatabase.with { database in
            let connection = try await PostgresConnection.connect(database.conninfo)
            try await connection.run { connection in
                let conflict = "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$"
                var attempts = 0
                try connection.transaction {
                    attempts += 1
                    if attempts < 3 { try connection.execute(conflict) }
                }
                #expect(attempts == 3)
                attempts = 0
                let error = #expect(throws: PostgresError.self) {
                    try connection.transaction {
                        attempts += 1
                        try connection.execute(conflict)
                    }
                }
                #expect(error?.isConflict == true && attempts == 8)
            }
        }
    }

    @Test("A cancelled caller's connection is not lent again")
    func cancelled() async throws {
        try await TestDatabase.with { database in
            let pool = ConnectionPool(.init(conninfo: database.conninfo, limit: 1))
            let task = Task { try await pool.withConnection { try $0.query("SELECT pg_sleep(60), pg_backend_pid()") } }
            let other = try await PostgresConnection.connect(database.conninfo)
            // PostgreSQL also shows the statement while it is being prepared. Only a statement that runs waits in pg_sleep.
            let isRunning =
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND wait_event = 'PgSleep'"
            while try await other.query(isRunning)[0].decode(0, as: Int.self) == 0 {}
            let pid = try await other.query("SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'")[0]
                .decode(0, as: Int.self)
            task.cancel()
            await #expect(throws: PostgresError.self) { try await task.value }
            for _ in 0..<20 {
                let next = try await pool.withConnection {
                    try $0.query("SELECT pg_backend_pid(), pg_sleep(0.01)")[0].decode(0, as: Int.self)
                }
                #expect(next != pid)
            }
            await pool.close()
        }
    }
}
