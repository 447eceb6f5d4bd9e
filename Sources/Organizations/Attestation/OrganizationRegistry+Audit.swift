import PostgresClient
package import Tenancy

extension OrganizationRegistry {
    /// Removes the blocks of the audit, if there are any, and records the removal. The entries are sealed anew later.
    package func giveUpBlocks(of name: String, because reason: String, by caller: Caller) async throws {
        try await asOwner { connection in
            let organization = try registered(name, on: connection)
            let blocks = organization.qualified("audit_block")
            guard try connection.query("SELECT EXISTS (SELECT FROM \(blocks))")[0].decode(0) else { return }
            try AuditAnchor.beginAnew(organization, by: caller, under: kek, because: reason, on: connection)
        }
    }

    /// The problems of the audit and of the events that record its blocks. If there are problems, `org attach` seals the audit
    /// anew.
    func auditProblems(of organization: Organization, on connection: isolated PostgresConnection) throws -> [String] {
        let problems = try AuditVerifier(organization: organization).verifyWithin(.whole, on: connection).problems
        // A schema that was not migrated yet has no blocks.
        guard problems.isEmpty,
            try connection.query("SELECT to_regclass($1) IS NOT NULL", [.text(organization.qualified("audit_block"))])[0].decode(0)
        else { return problems }
        do {
            _ = try AttestedAnchor(of: organization, under: kek, on: connection)
            return []
        } catch let problem as EventChainProblem {
            return ["audit: security event \(problem.description)"]
        }
    }
}
