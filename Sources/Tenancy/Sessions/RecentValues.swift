/// A cache of recently used values, in two halves. When the newer half is full, the older half is discarded, and the newer half
/// takes its place.
///
/// So memory is bounded, and values in use stay.
struct RecentValues<Key: Hashable, Value> {
    /// How many values each half has at most.
    private let limit: Int
    private var newer: [Key: Value] = [:]
    private var older: [Key: Value] = [:]

    init(limit: Int) { self.limit = limit }

    /// How many values are kept.
    var count: Int { newer.count + older.count }

    /// The value of a key. Reading a value counts as use.
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
