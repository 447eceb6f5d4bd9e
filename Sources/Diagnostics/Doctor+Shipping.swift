import Organizations
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports security events that have not reached the receiver in the settings.
    func shipping(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        guard shipsEvents else { return [] }
        let rows = try connection.query(
            """
            SELECT a.newest_event - \(EventShipment.position), \(ReadableMoment.text("e.occurred_on"))
              FROM config.attested_state AS a LEFT JOIN config.event_shipment AS s USING (organization_id)
              JOIN LATERAL (SELECT v.occurred_on FROM \(organization.qualified("security_event")) AS v
                             WHERE v.security_event_id > \(EventShipment.position) ORDER BY v.security_event_id LIMIT 1) AS e ON true
             WHERE a.organization_id = $1 AND a.newest_event > \(EventShipment.position)
               AND e.occurred_on < now() - interval '\(Self.shippingMinutes) minutes'
            """, [.uuid(organization.id)])
        return try rows.map { row in
            let count: Int = try row.decode(0)
            return Finding(
                .warning, "events-not-sent", organization.name,
                "\(count) security events were not sent to the receiver that the settings name, the oldest of \(try row.decode(1, as: String.self)) UTC",
                advice:
                    "see that a server runs, that its log has no error about the receiver, and who changed config.event_shipper with SQL"
            )
        }
    }

    /// Minutes that an event may wait without a finding, because a receiver may be restarting.
    private static let shippingMinutes = 5
}
