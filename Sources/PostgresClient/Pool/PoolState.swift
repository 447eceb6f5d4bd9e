/// The bookkeeping of a pool. The type of connections is a parameter, so tests need no database.
struct PoolState<Connection, Waiter> {
    /// The pool's next action.
    enum Action {
        case use(Connection)
        case connect
        case wait
        case refuse
    }

    let limit: Int
    let waiterLimit: Int
    /// How many connections one borrower may hold at a time; nil for no limit.
    let borrowerLimit: Int?
    private(set) var idle: [Connection] = []
    private(set) var open = 0
    private(set) var waiters: [(id: UInt64, waiter: Waiter, borrower: PoolBorrower?)] = []
    private(set) var isClosed = false
    private var held: [PoolBorrower: Int] = [:]

    init(limit: Int, waiterLimit: Int, borrowerLimit: Int? = nil) {
        self.limit = limit
        self.waiterLimit = waiterLimit
        self.borrowerLimit = borrowerLimit
    }

    /// Handles a request for a connection. Lends the idle connection that was used most recently.
    mutating func acquire(for borrower: PoolBorrower? = nil) -> Action {
        if isClosed { return .refuse }
        if !holdsItsLimit(borrower) {
            if let connection = idle.popLast() {
                hold(borrower)
                return .use(connection)
            }
            if open < limit {
                open += 1
                hold(borrower)
                return .connect
            }
        }
        return waiters.count < waiterLimit ? .wait : .refuse
    }

    mutating func enqueue(_ waiter: Waiter, id: UInt64, for borrower: PoolBorrower? = nil) {
        waiters.append((id, waiter, borrower))
    }

    /// Handles a returned connection. Returns the first waiter that may have the connection.
    mutating func release(_ connection: Connection, by borrower: PoolBorrower? = nil) -> Waiter? {
        drop(borrower)
        guard let waiter = next() else {
            if isClosed { open -= 1 } else { idle.append(connection) }
            return nil
        }
        return waiter
    }

    /// Handles a connection that was closed. Returns the first waiter that may open a new connection in its place.
    mutating func discard(by borrower: PoolBorrower? = nil) -> Waiter? {
        drop(borrower)
        guard let waiter = next() else {
            open -= 1
            return nil
        }
        return waiter
    }

    /// Removes a waiter whose time limit passed or whose task was cancelled. Returns nil if this waiter no longer waits.
    mutating func remove(id: UInt64) -> Waiter? {
        guard let index = waiters.firstIndex(where: { $0.id == id }) else { return nil }
        return waiters.remove(at: index).waiter
    }

    /// Closes the pool. Returns the idle connections to close and the waiters to refuse.
    mutating func close() -> (idle: [Connection], waiters: [Waiter]) {
        isClosed = true
        defer {
            open -= idle.count
            idle = []
            waiters = []
        }
        return (idle, waiters.map(\.waiter))
    }

    /// Whether a borrower holds its maximum number of connections.
    func holdsItsLimit(_ borrower: PoolBorrower?) -> Bool {
        guard let borrowerLimit, let borrower else { return false }
        return held[borrower, default: 0] >= borrowerLimit
    }

    private mutating func next() -> Waiter? {
        guard let index = waiters.firstIndex(where: { !holdsItsLimit($0.borrower) }) else { return nil }
        let entry = waiters.remove(at: index)
        hold(entry.borrower)
        return entry.waiter
    }

    private mutating func hold(_ borrower: PoolBorrower?) {
        guard borrowerLimit != nil, let borrower else { return }
        held[borrower, default: 0] += 1
    }

    private mutating func drop(_ borrower: PoolBorrower?) {
        guard borrowerLimit != nil, let borrower, let count = held[borrower] else { return }
        held[borrower] = count > 1 ? count - 1 : nil
    }
}
