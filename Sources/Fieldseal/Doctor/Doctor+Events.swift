import PostgresClient

extension Doctor {
    /// Whether the chain of security events is whole.
    func events(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        var findings: [Finding] = []
        func say(_ severity: Finding.Severity, _ code: String, _ message: String, _ advice: String) {
            findings.append(Finding(severity, code, organization.name, message, advice: advice))
        }
        let broken = try connection.query(
            "SELECT security_event_id::text || ': ' || problem FROM \(organization.qualified("verify_security_events"))() LIMIT 10")
        for row in broken {
            say(
                .error, "event-chain-broken", "security event \(try row.decode(0, as: String.self))",
                "compare security_event with a backup: somebody changed what is recorded")
        }
        let state = try OrganizationState.read(organization.name, in: deployment, isInspection: true, on: connection)
        guard let attested = state.attested, (try? state.verifyRow(under: deployment.kek)) != nil else { return findings }
        let count: Int = try connection.query("SELECT count(*) FROM \(organization.qualified("security_event"))")[0].decode(0)
        let advice = "compare security_event with a backup: what is recorded was changed"
        if count < attested.events {
            say(.error, "event-chain-cut", "\(attested.events - count) of \(attested.events) security events are missing", advice)
        } else if let problem = state.endProblem {
            say(.error, "event-chain-cut", "the organization is refused: \(problem.description)", advice)
        }
        return findings
    }
}
