import Foundation
import JSON
import Model
import PostgresClient
package import RouterProtocol
import Tenancy

// Requests of routers that wait for work.
extension MailboxLeases {
    /// Waits until there is work for a router of this organization, or until a mailbox that it watches was changed.
    ///
    /// While it waits, the request holds only its connection to the router. Triggers notify the service of changes, and each check
    /// computes when the next mailbox or e-mail becomes due.
    ///
    /// - Parameter whileWaiting: Runs a closure outside of the limits for active requests.
    package func waitForWork(
        _ request: WaitForWork.Request, whileWaiting: @Sendable (@Sendable () async -> Void) async -> Void
    ) async throws -> WaitForWork.Answer {
        let deadline = ContinuousClock.now + .seconds(min(max(request.seconds, 0), RouterLimits.waitSeconds))
        let watching = Watching(request)
        do {
            return try await mail.work.gate.run(caller.clientID ?? organization.id) {
                let seen = try await register(request, watching)
                return try await withTaskCancellationHandler {
                    try await wait(request, watching, until: deadline, whileWaiting)
                } onCancel: {
                    // The router may have ended, which also closes its connections to mail servers.
                    Task { await doubt(request.hostId, since: seen) }
                }
            }
        } catch is AdmissionGate<UUID>.Full {
            throw FieldsealError(
                .concurrentRequestsExceeded,
                "The largest number of routers that may wait for work is reached. Wait, then send the request again.",
                retryAfter: 30)
        }
    }

    private func wait(
        _ request: WaitForWork.Request, _ watching: Watching, until deadline: ContinuousClock.Instant,
        _ whileWaiting: @Sendable (@Sendable () async -> Void) async -> Void
    ) async throws -> WaitForWork.Answer {
        let (work, schema) = (mail.work, organization.schema)
        var isFirst = true
        while true {
            let mark = work.mark(schema)
            let began = ContinuousClock.now
            let found: Look
            do {
                found = try await look(request, watching)
            } catch is StaleSession where !isFirst {
                // The key or the client changed meanwhile. The next request begins a new session.
                return WaitForWork.Answer(due: 0, ended: [])
            }
            isFirst = false
            let left = deadline - ContinuousClock.now
            if found.answer.due > 0 || !found.answer.ended.isEmpty || left <= .zero || work.isClosed { return found.answer }
            let limit = min(left, found.next.map { Duration.seconds($0) } ?? left, Self.longestInterval)
            await whileWaiting {
                await work.wait(for: schema, after: mark, upTo: limit)
                // Many changes in quick succession are handled by one check.
                let rest = Self.lookInterval - (ContinuousClock.now - began)
                if rest > .zero { try? await Task.sleep(for: rest) }
            }
            try Task.checkCancellation()
        }
    }

    /// The shortest time between the starts of two checks.
    private static let lookInterval = Duration.milliseconds(200)
    /// The longest time between the starts of two checks. A notification may be lost, and no notification is sent when this server
    /// loses a key.
    private static let longestInterval = Duration.seconds(15)

    /// The watched mailboxes of a request, as two arrays for the parameters of a statement.
    private struct Watching {
        let ids: [UUID]
        let revisions: [String]

        init(_ request: WaitForWork.Request) {
            let known = request.watching.compactMap { watched in UUID(text: watched.mailboxId).map { ($0, watched.revision) } }
            (ids, revisions) = (known.map(\.0), known.map(\.1))
        }
    }

    // MARK: Live routers

    /// Registers a router as alive, with the mailboxes that it watches.
    ///
    /// - Returns: The time of the registration.
    private func register(_ request: WaitForWork.Request, _ watching: Watching) async throws -> PostgresMoment {
        let (routers, watches) = (organization.qualified("mail_router"), organization.qualified("mailbox_watch"))
        return try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                let name = PostgresParameter.text(request.hostId)
                if request.isLeaving {
                    _ = try connection.query(freeing, [name])
                    _ = try connection.query("DELETE FROM \(watches) WHERE router = $1", [name])
                    _ = try connection.query("DELETE FROM \(routers) WHERE router = $1", [name])
                    return PostgresMoment.distantPast
                }
                let seen: PostgresMoment = try connection.query(
                    """
                    INSERT INTO \(routers) AS r (router) VALUES ($1) ON CONFLICT (router) DO UPDATE SET seen_on = now() RETURNING seen_on
                    """, [name])[0].decode(0)
                _ = try connection.query(
                    "DELETE FROM \(watches) WHERE router = $1 AND mailboxid <> ALL ($2)", [name, .uuids(watching.ids)])
                if !watching.ids.isEmpty {
                    _ = try connection.query(takingWatches, [name, .uuids(watching.ids), .texts(watching.revisions)])
                }
                // Deletes routers that stopped without telling the service. The mailboxes of such routers stay due until they are
                // leased.
                _ = try connection.query(
                    "DELETE FROM \(routers) WHERE seen_on < now() - interval '1 hour' OR seen_on > now() + interval '1 hour'", [])
                return seen
            }
        }
    }

    /// When a router ends, makes the mailboxes that it watched due. $1 is the router.
    private var freeing: String {
        """
        UPDATE \(organization.qualified("mailbox")) AS m SET postponemailboxprocessinguntil = now()
          FROM (SELECT m.mailboxid FROM \(organization.qualified("mailbox")) AS m JOIN \(organization.qualified("mailbox_watch")) AS w USING (mailboxid)
                 WHERE w.router = $1 AND m.postponemailboxprocessinguntil > now() ORDER BY m.mailboxid FOR UPDATE OF m) AS w
         WHERE m.mailboxid = w.mailboxid
        """
    }

    /// Marks mailboxes as watched, unless another live router watches them. $1 is the router, $2 the mailboxes, $3 their revisions.
    private var takingWatches: String {
        """
        INSERT INTO \(organization.qualified("mailbox_watch")) AS w (mailboxid, router, revision, emailserverprofile)
        SELECT m.mailboxid, $1, i.revision, m.emailserverprofile FROM unnest($2::uuid[], $3::text[]) AS i (id, revision)
          JOIN \(organization.qualified("mailbox")) AS m ON m.mailboxid = i.id
         ORDER BY m.mailboxid
        ON CONFLICT (mailboxid) DO UPDATE
           SET router = excluded.router, revision = excluded.revision, emailserverprofile = excluded.emailserverprofile, since = now()
         WHERE (w.router, w.revision) <> (excluded.router, excluded.revision) AND NOT EXISTS (
            SELECT FROM \(organization.qualified("mail_router")) AS r
             WHERE r.router = w.router AND r.router <> excluded.router AND \(DueMailboxes.isAlive("r")))
        """
    }

    /// Marks a mailbox as watched by the router that reports it, if its profile allows another connection and its settings did not
    /// change.
    func startWatching(_ id: UUID, _ router: String, _ revision: String, on connection: isolated PostgresConnection) throws -> Bool
    {
        let due = DueMailboxes(session)
        let allowed = try connection.query(
            """
            SELECT 1 FROM \(due.source)
             WHERE m.mailboxid = $1 AND \(DueMailboxes.revision) = $3 AND \(DueMailboxes.isAllowed)
               AND EXISTS (SELECT FROM \(organization.qualified("mail_router")) AS r WHERE r.router = $2 AND \(DueMailboxes.isAlive("r")))
               AND (SELECT count(*) FROM \(organization.qualified("mailbox_watch")) AS w
                      JOIN \(organization.qualified("mail_router")) AS r USING (router)
                     WHERE w.emailserverprofile = m.emailserverprofile AND w.mailboxid <> m.mailboxid AND \(DueMailboxes.isAlive("r")))
                   -- Watching uses at most half of the connections, so that other mailboxes can have turns.
                   < coalesce(p.maxconcurrentconnections / 2, \(RouterLimits.watchesPerProfile))
            """, [.uuid(id), .text(router), .text(revision)])
        guard !allowed.isEmpty else { return false }
        _ = try connection.query(takingWatches, [.text(router), .uuids([id]), .texts([revision])])
        return true
    }

    /// After a request was cut off, makes the router count as ended 15 seconds later, unless the router sends another request by
    /// then.
    private func doubt(_ router: String, since seen: PostgresMoment) async {
        let statement = """
            UPDATE \(organization.qualified("mail_router")) SET seen_on = now() - $3 * interval '1 second'
             WHERE router = $1 AND seen_on = $2
            """
        let age = RouterLimits.presenceSeconds - RouterLimits.presenceSecondsAfterHangUp
        // If this fails, the router counts as ended 90 seconds after it was seen.
        _ = try? await deployment.pool.withConnection { connection in
            _ = try connection.query(statement, [.text(router), .moment(seen), .double(Double(age))])
        }
    }

    // MARK: Checks

    private struct Look {
        let answer: WaitForWork.Answer
        /// Seconds until something becomes due; nil if nothing will become due.
        let next: Double?
    }

    private func look(_ request: WaitForWork.Request, _ watching: Watching) async throws -> Look {
        let due = DueMailboxes(session)
        return try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                // Without the key no credential is released. The router's next sign-in reports the missing key as an alert.
                var ended = due.hasKey ? [] : watching.ids.map(\.text)
                if due.hasKey {
                    ended = try connection.query(changed(due), [.text(request.hostId), .uuids(watching.ids)])
                        .map { try $0.decode(0, as: UUID.self).text }
                }
                guard request.wantsWork else { return Look(answer: .init(due: 0, ended: ended), next: nil) }
                let count: Int = try connection.query(
                    "SELECT count(*) FROM (SELECT FROM \(due.source) WHERE \(due.condition()) LIMIT $1) AS d",
                    [.int64(Int64(WaitForWork.Answer.dueLimit))])[0].decode(0)
                let next: Double? = try connection.query(due.next, [.text(request.hostId)])[0].decodeIfPresent(0)
                return Look(answer: .init(due: count, ended: ended), next: next)
            }
        }
    }

    /// Watched mailboxes that were changed, or that another router has. The query covers the mailboxes in the request, and
    /// mailboxes that the router began to watch since the request began. $1 is the router, $2 the request's mailboxes.
    private func changed(_ due: DueMailboxes) -> String {
        """
        SELECT i.id FROM (
            SELECT unnest($2::uuid[]) AS id UNION SELECT w.mailboxid FROM \(organization.qualified("mailbox_watch")) AS w WHERE w.router = $1) AS i
         WHERE NOT EXISTS (
            SELECT FROM \(due.source) JOIN \(organization.qualified("mailbox_watch")) AS w USING (mailboxid)
             WHERE m.mailboxid = i.id AND w.router = $1 AND \(DueMailboxes.revision) = w.revision AND \(DueMailboxes.isAllowed))
        """
    }
}
