import PostgresClient
import Tenancy

extension Doctor {
    /// How many days before its expiry a secret is reported.
    private static let noticeDays = 14

    /// Reports clients whose last secret or key has expired or will expire soon.
    func clientSecrets(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        try connection.query(
            """
            SELECT c.name, \(ReadableMoment.text("max(p.ends)")), max(p.ends) < now()
              FROM config.api_client AS c JOIN (
                   SELECT client_id, coalesce(expires_on, 'infinity') AS ends FROM config.api_client_secret
                   UNION ALL SELECT client_id, coalesce(expires_on, 'infinity') FROM config.api_client_key) AS p USING (client_id)
             WHERE c.organization_id = $1 AND c.disabled_on IS NULL
             GROUP BY c.client_id, c.name HAVING max(p.ends) < now() + $2 * interval '1 day' ORDER BY c.name
            """, [.uuid(organization.id), .double(Double(Self.noticeDays))]
        ).map { row in
            let (name, end): (String, String) = (try row.decode(0), try row.decode(1))
            let hasEnded: Bool = try row.decode(2)
            return Finding(
                .warning, "client-secret-expires", organization.name,
                "the last secret or key of the client \(name) \(hasEnded ? "expired" : "expires") on \(end) UTC",
                advice:
                    "fieldseal client rotate \(name) --org \(organization.name); or disable the client if it is not used any more")
        }
    }
}
