/// Events of one kind in their order, read by the index of kinds.
///
/// For `kind = …` PostgreSQL may read all events from the newest on: it does not know that a kind is rare. A comparison of rows and an
/// order that begins with the kind leave it no other way than the index.
package enum EventsOfKind {
    /// - Parameters:
    ///   - kind: An SQL expression.
    ///   - above: The number that the events' numbers are above, as an SQL expression; nil for all.
    ///   - below: The number that they are below.
    package static func condition(_ kind: String, _ above: String? = nil, _ below: String? = nil) -> String {
        let (first, last) = (above ?? "'\(Int64.min)'", below ?? "'\(Int64.max)'")
        return """
            (kind, security_event_id) > (\(kind), (\(first))::bigint) AND (kind, security_event_id) < (\(kind), (\(last))::bigint)
            """
    }

    package static let newestFirst = "ORDER BY kind DESC, security_event_id DESC"
}
