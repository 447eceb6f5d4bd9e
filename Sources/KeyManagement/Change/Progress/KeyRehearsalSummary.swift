/// The result of a rehearsal of a key change. A rehearsal changes nothing.
package struct KeyRehearsalSummary: Sendable {
    package let cells: Int
    package let duration: Duration
    /// Bytes of WAL that PostgreSQL wrote during the rehearsal, including those of other sessions.
    package let walBytes: Int
    /// The duration of the last catch-up. In a key change, writers would wait about that long.
    package let lastCatchUp: Duration
    /// Addresses of the cells that do not open, each with the cause.
    package let unreadable: [String]
}
