import PostgresClient
import Tenancy

// The chain of security events.
extension Doctor {
    /// Reports breaks in the chain of events, a chain that ends too early, and events that SQL inserted.
    func events(
        of organization: Organization,
        _ extent: EventChainExtent,
        on connection: isolated PostgresConnection
    ) throws -> [Finding] {
        let report = try EventChainVerifier(organization: organization, kek: deployment.kek).verify(extent, on: connection)
        var findings = report.problems.prefix(10).map { problem in
            // A problem that concerns one event begins with the event's number.
            let isOfEvent = problem.first?.isNumber == true && problem.contains(": ")
            return Finding(
                .error, isOfEvent ? "event-chain-broken" : "event-chain-cut", organization.name,
                isOfEvent ? "security event \(problem)" : problem,
                advice: "compare security_event with an export or a backup, because SQL changed the evidence")
        }
        let counted = try connection.query(
            """
            SELECT count(*) FILTER (WHERE kind = $1), count(*) FILTER (WHERE kind = $2)
              FROM \(organization.qualified("security_event")) WHERE kind IN ($1, $2) AND occurred_on > now() - interval '30 days'
            """, [.text(SecurityEvent.Kind.eventRefused.rawValue), .text(SecurityEvent.Kind.eventLost.rawValue)])[0]
        let (refused, lost): (Int, Int) = (try counted.decode(0), try counted.decode(1))
        if refused > 0 {
            findings.append(
                Finding(
                    .warning, "events-refused", organization.name,
                    "\(refused) security events of the last 30 days were not written by this service, and are recorded as refused",
                    advice: "find out who inserted them with SQL: fieldseal events export, kind \"event refused\""))
        }
        if lost > 0 {
            findings.append(
                Finding(
                    .error, "events-lost", organization.name,
                    "\(lost) security events of the last 30 days disappeared before they were linked into the chain: SQL removed "
                        + "them, or a database without them took over",
                    advice: "find out who did it: fieldseal events export, kind \"event lost\", says what was in them"))
        }
        return Array(findings)
    }
}
