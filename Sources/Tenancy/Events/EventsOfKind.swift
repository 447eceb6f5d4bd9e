/// Selects events of one kind in order, with the index of kinds.
///
/// For `kind = …` PostgreSQL may read all events from the newest on, because it does not know that a kind is rare. A comparison of
/// rows and an order that begins with the kind make it use the index.
package enum EventsOfKind {
    /// - Parameters:
    ///   - kind: An SQL expression.
    ///   - above: The exclusive lower limit of the events' numbers as an SQL expression; nil for none.
    ///   - below: The exclusive upper limit.
    package static func condition(_ kind: String, _ above: String? = nil, _ below: String? = nil) -> String {
        let (first, last) = (above ?? "'\(Int64.min)'", below ?? "'\(Int64.max)'")
        return """
            (kind, security_event_id) > (\(kind), (\(first))::bigint) AND (kind, security_event_id) < (\(kind), (\(last))::bigint)
            """
    }

    package static let newestFirst = "ORDER BY kind DESC, security_event_id DESC"
}
