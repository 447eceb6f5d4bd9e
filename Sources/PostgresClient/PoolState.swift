/// What a pool knows: pure bookkeeping, so that it is tested without a database.
struct PoolState<Connection, Waiter> {
    /// What the pool must do next.
    enum Action {
        case use(Connection)
        case connect
        case wait
        case refuse
    }

    let limit: Int
    let waiterLimit: Int
    /// Connections that one borrower may hold at a time; nil for any number.
    let share: Int?
    private(set) var idle: [Connection] = []
    private(set) var open = 0
    private(set) var waiters: [(id: UInt64, waiter: Waiter, borrower: PoolBorrower?)] = []
    private(set) var closed = false
    private var held: [PoolBorrower: Int] = [:]

    init(limit: Int, waiterLimit: Int, share: Int? = nil) {
        self.limit = limit
        self.waiterLimit = waiterLimit
        self.share = share
    }

    /// A caller wants a connection. The most recently used one is the warmest.
    mutating func acquire(for borrower: PoolBorrower? = nil) -> Action {
        if closed { return .refuse }
        if !holdsItsShare(borrower) {
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

    /// A connection comes back in good order: to the first waiter that may have one.
    mutating func release(_ connection: Connection, by borrower: PoolBorrower? = nil) -> Waiter? {
        drop(borrower)
        guard let waiter = next() else {
            if closed { open -= 1 } else { idle.append(connection) }
            return nil
        }
        return waiter
    }

    /// A connection is gone. The first waiter that may have one may connect in its place.
    mutating func discard(by borrower: PoolBorrower? = nil) -> Waiter? {
        drop(borrower)
        guard let waiter = next() else {
            open -= 1
            return nil
        }
        return waiter
    }

    /// A waiter gave up.
    mutating func remove(id: UInt64) -> Waiter? {
        guard let index = waiters.firstIndex(where: { $0.id == id }) else { return nil }
        return waiters.remove(at: index).waiter
    }

    /// No caller gets a connection any more; the idle ones and the waiters are handed out for closing and refusing.
    mutating func close() -> (idle: [Connection], waiters: [Waiter]) {
        closed = true
        defer {
            open -= idle.count
            idle = []
            waiters = []
        }
        return (idle, waiters.map(\.waiter))
    }

    /// Whether a borrower has as many connections as it may have.
    func holdsItsShare(_ borrower: PoolBorrower?) -> Bool {
        guard let share, let borrower else { return false }
        return held[borrower, default: 0] >= share
    }

    private mutating func next() -> Waiter? {
        guard let index = waiters.firstIndex(where: { !holdsItsShare($0.borrower) }) else { return nil }
        let entry = waiters.remove(at: index)
        hold(entry.borrower)
        return entry.waiter
    }

    private mutating func hold(_ borrower: PoolBorrower?) {
        guard share != nil, let borrower else { return }
        held[borrower, default: 0] += 1
    }

    private mutating func drop(_ borrower: PoolBorrower?) {
        guard share != nil, let borrower, let count = held[borrower] else { return }
        held[borrower] = count > 1 ? count - 1 : nil
    }
}
