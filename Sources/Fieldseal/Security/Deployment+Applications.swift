import PostgresClient

extension Deployment {
    /// Writes the ids of clients that an earlier version added into the records of the users that they act as.
    public func nameApplications() async {
        for entry in (try? await OrganizationEntry.list(self)) ?? [] {
            // An organization that can't be written now is looked at again when the next server starts.
            try? await pool.withConnection { connection in
                _ = try connection.query(
                    """
                    UPDATE \(entry.organization.qualified("systemuser")) AS u SET applicationid = c.client_id FROM config.api_client AS c
                     WHERE c.organization_id = $1 AND c.systemuser_id = u.systemuserid AND u.applicationid IS NULL
                    """, [.uuid(entry.organization.id)])
            }
        }
    }
}
