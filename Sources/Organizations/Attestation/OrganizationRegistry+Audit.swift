import PostgresClient
package import Tenancy

extension OrganizationRegistry {
    /// Gives up the blocks of the audit, if there are some, and records that. The entries are sealed anew later.
    package func giveUpBlocks(of name: String, because reason: String, by caller: Caller) async throws {
        try await asOwner { connection in
            let organization = try registered(name, on: connection)
            let blocks = organization.qualified("audit_block")
            guard try connection.query("SELECT EXISTS (SELECT FROM \(blocks))")[0].decode(0) else { return }
            try AuditAnchor.beginAnew(organization, by: caller, under: kek, because: reason, on: connection)
        }
    }
}
