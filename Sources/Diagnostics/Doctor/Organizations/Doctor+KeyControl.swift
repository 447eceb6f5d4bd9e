import PostgresClient
import Tenancy

extension Doctor {
    /// Checks that SQL did not change the organization's conditions for the use of its key.
    func keyControl(_ state: OrganizationState, on connection: isolated PostgresConnection) throws -> [Finding] {
        let organization = state.organization
        let row = try KeyControl.row(of: organization, on: connection) ?? KeyControl()
        let isHeld = try state.grants.holds(row.grant, under: deployment.kek)
        guard try row.isOn ? !isHeld : state.grants.names(KeyControl.name) else { return [] }
        return [
            Finding(
                .error, "key-control-changed", organization.name,
                "SQL changed the rules for the use of the key. If this service had set any, the strictest rules apply: an "
                    + "approval within \(KeyControl.approvalRange.lowerBound) seconds, and a sign-in within "
                    + "\(KeyControl.signInRange.lowerBound)",
                advice: "find out who did it, then set the rules again: fieldseal key control --org \(organization.name)")
        ]
    }
}
