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
        if let problem = try EventChain.problem(of: organization, under: deployment.kek, on: connection) {
            say(.error, "event-chain-cut", problem, "compare security_event with a backup: somebody changed what is recorded")
        }
        return findings
    }
}
