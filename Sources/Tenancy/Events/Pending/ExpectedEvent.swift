package import Foundation
import JSON
import PostgresClient

/// A security event that must exist, because the write that set the password and inserted the event was committed.
///
/// The server remembers the event until it is in the chain. So the server notices if SQL deletes the event from `unchained_event`
/// earlier.
package struct ExpectedEvent: Sendable {
    /// The fields that identify the event of one write.
    struct Key: Hashable, Sendable {
        let details: String
        let actor: String
        let requestID: String?
    }

    let key: Key
    /// A moment before the write, in microseconds since 1970-01-01 UTC.
    let since: Int

    /// - Parameters:
    ///   - details: The record and the attribute of the password, such as `mailbox(01a2…).password`.
    ///   - date: A moment before the write, by this server's clock.
    package init(_ details: String, by caller: Caller, since date: Date) {
        key = Key(details: details, actor: caller.actor, requestID: caller.requestID)
        since = Int((date.timeIntervalSince1970 * 1e6).rounded(.down))
    }

    init(_ key: Key, since: Int) {
        self.key = key
        self.since = since
    }

    /// Microseconds by which the clock may have been set back between ``since`` and the event. An earlier event of the same
    /// password is not mistaken for this one, because its request's id differs.
    enum Slack: Int {
        case usual = 5_000_000
        case longest = 3_600_000_000
    }

    /// The earliest time of the event.
    func earliest(_ slack: Slack) -> Int { since - slack.rawValue }

    /// The kinds of events for setting a password.
    static let kinds = [SecurityEvent.Kind.passwordSet, .passwordReplaced].map(\.rawValue)

    /// The security event that records that this event is missing.
    var lost: SecurityEvent {
        let time = ISO8601.text(PostgresMoment(microsecondsSince1970: since).date)
        let request = key.requestID.map { ", request \($0)" } ?? ""
        return SecurityEvent(
            .eventLost, .failed, details: "password set or replaced, by \(key.actor) at \(time)\(request): \(key.details)")
    }
}

extension Session {
    /// How many missing events one transaction records.
    private static let lostBatch = 500

    /// Records which expected events are lost: not waiting, not in the chain and not archived.
    ///
    /// - Parameter expected: The events that were expected before waiting events were linked. Events that this server has linked
    ///   since are not queried. So with a single server there is normally no query.
    func recordLostEvents(among expected: [ExpectedEvent]) async throws {
        let left = Set(deployment.pendingEvents.expected(of: organization).map(\.key))
        let expected = expected.filter { left.contains($0.key) }
        guard !expected.isEmpty else { return }
        let lost = try await deployment.pool.withConnection { connection -> [ExpectedEvent] in
            let missing = try missing(among: expected, .usual, on: connection)
            return missing.isEmpty ? [] : try self.missing(among: missing, .longest, on: connection)
        }
        for start in stride(from: 0, to: lost.count, by: Self.lostBatch) {
            let batch = Array(lost[start..<min(start + Self.lostBatch, lost.count)])
            try await deployment.pool.withConnection { connection in
                try AttestedState.changeEvents(of: organization, under: deployment.kek, on: connection) { change in
                    for event in batch { try change.append(event.lost, by: caller, on: connection) }
                }
            }
            deployment.pendingEvents.forget(batch, of: organization)
        }
    }

    /// Looks events up. Forgets events that are in the chain or in an archive, and keeps waiting events for the next check.
    ///
    /// - Returns: The events that are neither in a table nor in an archive.
    private func missing(
        among expected: [ExpectedEvent], _ slack: ExpectedEvent.Slack, on connection: isolated PostgresConnection
    ) throws -> [ExpectedEvent] {
        let columns = "details, actor, request_id, (extract(epoch FROM occurred_on) * 1000000)::bigint"
        let condition = "occurred_on >= $1 AND kind = ANY ($2) AND details = ANY ($3)"
        // A single statement reads both tables in one snapshot. So the statement finds an event in one of the tables, even while
        // another server links the event.
        let rows = try connection.query(
            """
            SELECT \(columns), true FROM \(organization.qualified("security_event")) WHERE \(condition)
            UNION ALL
            SELECT \(columns), false FROM \(organization.qualified("unchained_event")) WHERE \(condition)
            """,
            [
                .timestamp(microseconds: Int64(expected.map { $0.earliest(slack) }.min() ?? 0)), .texts(ExpectedEvent.kinds),
                .texts(expected.map(\.key.details)),
            ])
        var linked: [ExpectedEvent.Key: Int] = [:]
        var waiting: [ExpectedEvent.Key: Int] = [:]
        for row in rows {
            let key = ExpectedEvent.Key(
                details: try row.decode(0), actor: try row.decode(1), requestID: try row.decodeIfPresent(2))
            let time: Int = try row.decode(3)
            if try row.decode(4) {
                linked[key] = max(linked[key] ?? 0, time)
            } else {
                waiting[key] = max(waiting[key] ?? 0, time)
            }
        }
        let archived = try EventArchivePosition.require(organization, under: deployment.kek, on: connection)?.lastMicroseconds ?? 0
        let settled = expected.filter { max(linked[$0.key] ?? 0, archived) >= $0.earliest(slack) }
        deployment.pendingEvents.forget(settled, of: organization)
        return expected.filter { max(linked[$0.key] ?? 0, waiting[$0.key] ?? 0, archived) < $0.earliest(slack) }
    }
}
