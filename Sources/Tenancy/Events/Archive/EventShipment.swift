import Foundation
package import JSON
import PostgresClient

/// Security events that an external receiver has not acknowledged, and for each organization the newest acknowledged event.
///
/// One server of a deployment sends at a time. Each event is sent at least once, because an event with a lost acknowledgement is
/// sent again.
package struct EventShipment: Sendable {
    private let deployment: Deployment
    private let server = UUID.random()

    package init(_ deployment: Deployment) { self.deployment = deployment }

    /// Seconds after which another server may send, if the sender does not renew its lease.
    private static let leaseSeconds = 30.0
    /// How many events a batch has.
    private static let batchSize = 200

    /// Consecutive events of one organization, and the attested end of its chain.
    package struct Batch: Sendable {
        package let organization: Organization
        package let events: [RecordedEvent]
        /// Null if the organization's attested state does not verify.
        package let attestedEnd: JSONValue
    }

    /// Makes this server the sender, or renews its lease.
    ///
    /// - Returns: False while another server is the sender.
    package func renew() async throws -> Bool {
        try await deployment.pool.withConnection { connection in
            try !connection.query(
                """
                INSERT INTO config.event_shipper (server_id, renew_by) VALUES ($1, now() + $2 * interval '1 second')
                ON CONFLICT (is_only) DO UPDATE SET server_id = excluded.server_id, renew_by = excluded.renew_by
                    WHERE event_shipper.server_id = $1 OR event_shipper.renew_by < now()
                       -- No server writes such a time: SQL wrote it, or the database's clock was set back.
                       OR event_shipper.renew_by > now() + 2 * $2 * interval '1 second'
                RETURNING is_only
                """, [.uuid(server), .double(Self.leaseSeconds)]
            ).isEmpty
        }
    }

    /// SQL for the number of the newest acknowledged event, from `a` (`config.attested_state`) and `s` (`config.event_shipment`).
    /// A number above the newest event counts as 0: SQL wrote it, or the organization was restored to an earlier state.
    package static let position = "CASE WHEN s.last_event <= a.newest_event THEN s.last_event ELSE 0 END"

    /// The organizations with events to send, each with the newest acknowledged event.
    package func waiting() async throws -> [(name: String, after: Int)] {
        try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT o.name, \(Self.position) FROM config.attested_state AS a
                  JOIN config.organization AS o USING (organization_id)
                  LEFT JOIN config.event_shipment AS s USING (organization_id)
                 WHERE a.newest_event > \(Self.position) ORDER BY s.shipped_on NULLS FIRST
                """
            ).map { (name: try $0.decode(0), after: try $0.decode(1)) }
        }
    }

    /// The next events of an organization.
    package func batch(of name: String, after number: Int, by caller: Caller) async throws -> Batch {
        // Events are also sent if the organization's attested state does not verify, because then they matter most.
        let session = try await Session.begin(deployment, organization: name, caller: caller, isInspection: true)
        let reading = try EventReading(session)
        return Batch(
            organization: session.organization, events: try await reading.events(after: number, limit: Self.batchSize),
            attestedEnd: await reading.attestedEnd())
    }

    /// Records that the receiver has acknowledged events.
    ///
    /// - Parameter number: The newest acknowledged event.
    package func acknowledge(_ organization: Organization, upTo number: Int) async throws {
        try await deployment.pool.withConnection { connection in
            _ = try connection.query(
                """
                INSERT INTO config.event_shipment (organization_id, last_event) VALUES ($1, $2)
                ON CONFLICT (organization_id) DO UPDATE SET last_event = excluded.last_event, shipped_on = now()
                """, [.uuid(organization.id), .int64(Int64(number))])
        }
    }
}
