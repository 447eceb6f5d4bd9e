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
    private(set) var idle: [Connection] = []
    private(set) var open = 0
    private(set) var waiters: [(id: UInt64, waiter: Waiter)] = []
    private(set) var closed = false

    init(limit: Int, waiterLimit: Int) {
        self.limit = limit
        self.waiterLimit = waiterLimit
    }

    /// Somebody wants a connection. The most recently used one is the warmest.
    mutating func acquire() -> Action {
        if closed { return .refuse }
        if let connection = idle.popLast() { return .use(connection) }
        if open < limit {
            open += 1
            return .connect
        }
        return waiters.count < waiterLimit ? .wait : .refuse
    }

    mutating func enqueue(_ waiter: Waiter, id: UInt64) { waiters.append((id, waiter)) }

    /// A connection comes back in good order: to the first waiter, if there is one.
    mutating func release(_ connection: Connection) -> Waiter? {
        if waiters.isEmpty {
            if closed { open -= 1 } else { idle.append(connection) }
            return nil
        }
        return waiters.removeFirst().waiter
    }

    /// A connection is gone. The first waiter, if there is one, may connect in its place.
    mutating func discard() -> Waiter? {
        if waiters.isEmpty {
            open -= 1
            return nil
        }
        return waiters.removeFirst().waiter
    }

    /// A waiter gave up.
    mutating func remove(id: UInt64) -> Waiter? {
        guard let index = waiters.firstIndex(where: { $0.id == id }) else { return nil }
        return waiters.remove(at: index).waiter
    }

    /// Nobody gets a connection any more; the idle ones and the waiters are handed out for closing and refusing.
    mutating func close() -> (idle: [Connection], waiters: [Waiter]) {
        closed = true
        defer {
            open -= idle.count
            idle = []
            waiters = []
        }
        return (idle, waiters.map(\.waiter))
    }
}
