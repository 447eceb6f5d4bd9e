/// Values that were used lately, in two halves: when the newer half is full, it becomes the older one, whose values are forgotten.
///
/// So memory does not grow with what sleeps, and what is in use stays.
struct RecentValues<Key: Hashable, Value> {
    /// Values of each half, at most.
    private let limit: Int
    private var newer: [Key: Value] = [:]
    private var older: [Key: Value] = [:]

    init(limit: Int) { self.limit = limit }

    /// How many values are kept.
    var count: Int { newer.count + older.count }

    /// The value of a key, which counts as used.
    mutating func value(of key: Key) -> Value? {
        if let value = newer[key] { return value }
        guard let value = older[key] else { return nil }
        keep(value, for: key)
        return value
    }

    mutating func keep(_ value: Value, for key: Key) {
        older[key] = nil
        if newer[key] == nil, newer.count >= limit { (older, newer) = (newer, [:]) }
        newer[key] = value
    }

    mutating func forget(_ key: Key) {
        newer[key] = nil
        older[key] = nil
    }
}
