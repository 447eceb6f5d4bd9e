import Testing

@testable import PostgresClient

@Suite("The state of a connection pool, without a database")
struct PoolStateTests {
    private func describe(_ action: PoolState<Int, String>.Action) -> String {
        switch action {
        case .use(let connection): "use \(connection)"
        case .connect: "connect"
        case .wait: "wait"
        case .refuse: "refuse"
        }
    }

    @Test("The pool opens connections up to its limit; then callers wait, and callers beyond the waiting limit are refused")
    func limits() {
        var pool = PoolState<Int, String>(limit: 2, waiterLimit: 1)
        #expect(describe(pool.acquire()) == "connect")
        #expect(describe(pool.acquire()) == "connect")
        #expect(describe(pool.acquire()) == "wait")
        pool.enqueue("a", id: 1)
        #expect(describe(pool.acquire()) == "refuse")
    }

    @Test("A returned connection goes to the first waiter or becomes idle; the one that became idle last is lent first")
    func release() {
        var pool = PoolState<Int, String>(limit: 2, waiterLimit: 9)
        _ = pool.acquire()
        _ = pool.acquire()
        pool.enqueue("a", id: 1)
        pool.enqueue("b", id: 2)
        #expect(pool.release(1) == "a")
        #expect(pool.remove(id: 2) == "b")
        #expect(pool.remove(id: 2) == nil)
        #expect(pool.release(1) == nil)
        #expect(pool.release(2) == nil)
        #expect(describe(pool.acquire()) == "use 2")
        #expect(describe(pool.acquire()) == "use 1")
    }

    @Test("When a connection was closed, the first waiter may open a new one; without a waiter, the number of open ones falls")
    func discard() {
        var pool = PoolState<Int, String>(limit: 1, waiterLimit: 9)
        _ = pool.acquire()
        pool.enqueue("a", id: 1)
        #expect(pool.discard() == "a")
        #expect(pool.open == 1)
        #expect(pool.discard() == nil)
        #expect(pool.open == 0)
        #expect(describe(pool.acquire()) == "connect")
    }

    @Test("A borrower gets no more connections than its share, and borrowers behind it in the queue are served first")
    func share() {
        let (greedy, other) = (PoolBorrower.network("greedy"), PoolBorrower.network("other"))
        var pool = PoolState<Int, String>(limit: 3, waiterLimit: 9, borrowerLimit: 2)
        #expect(describe(pool.acquire(for: greedy)) == "connect")
        #expect(describe(pool.acquire(for: greedy)) == "connect")
        #expect(pool.holdsItsLimit(greedy) && !pool.holdsItsLimit(other) && !pool.holdsItsLimit(nil))
        #expect(describe(pool.acquire(for: greedy)) == "wait")
        pool.enqueue("greedy", id: 1, for: greedy)
        #expect(describe(pool.acquire(for: other)) == "connect")
        pool.enqueue("other", id: 2, for: other)
        // The returned connection goes to the first waiter whose borrower is below its limit, not to the first in the queue.
        #expect(pool.release(3, by: other) == "other")
        #expect(pool.release(3, by: other) == nil)
        #expect(pool.idle == [3])
        #expect(pool.release(1, by: greedy) == "greedy")
        #expect(pool.discard(by: greedy) == nil)
        #expect(describe(pool.acquire(for: greedy)) == "use 3")
        // The limit for one caller does not apply to the program's own work.
        #expect(describe(pool.acquire()) == "connect")
        #expect(describe(pool.acquire()) == "wait")
    }

    @Test("A closed pool lends no connection, and keeps none that is returned")
    func close() {
        var pool = PoolState<Int, String>(limit: 3, waiterLimit: 9)
        for _ in 0..<3 { _ = pool.acquire() }
        _ = pool.release(1)
        pool.enqueue("a", id: 1)
        let (idle, waiters) = pool.close()
        #expect(idle == [1])
        #expect(waiters == ["a"])
        #expect(describe(pool.acquire()) == "refuse")
        _ = pool.release(2)
        _ = pool.discard()
        #expect(pool.open == 0)
    }
}
