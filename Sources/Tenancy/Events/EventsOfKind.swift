/// SQL that selects events of one kind in order, so that PostgreSQL uses the index on kinds.
///
/// For `kind = …` PostgreSQL may read all events from the newest on, because it does not know that a kind is rare. PostgreSQL uses
/// the index for a row comparison with an ORDER BY that begins with the kind.
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

    /// SQL for the newest event of some kinds, as a query in parentheses.
    ///
    /// - Parameter details: An SQL pattern for the event's details.
    package static func newest(of kinds: [SecurityEvent.Kind], details: String = "%", in organization: Organization) -> String {
        let each = kinds.map { kind in
            """
            (SELECT * FROM \(organization.qualified("security_event"))
              WHERE \(condition("'\(kind.rawValue)'")) AND coalesce(details, '') LIKE '\(details)' \(newestFirst) LIMIT 1)
            """
        }
        return "(SELECT * FROM (\(each.joined(separator: " UNION ALL "))) AS e ORDER BY security_event_id DESC LIMIT 1)"
    }

    package static let newestFirst = "ORDER BY kind DESC, security_event_id DESC"
}
