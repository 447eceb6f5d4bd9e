import PostgresClient
import Tenancy

extension Doctor {
    /// Whether SQL changed what an organization asks for before its key is used.
    func keyControl(_ state: OrganizationState, on connection: isolated PostgresConnection) throws -> [Finding] {
        let organization = state.organization
        let row = try KeyControl.row(of: organization, on: connection) ?? KeyControl()
        let isHeld = try state.grants.holds(row.grant, under: deployment.kek)
        guard try row.isOn ? !isHeld : state.grants.names(KeyControl.name) else { return [] }
        return [
            Finding(
                .error, "key-control-changed", organization.name,
                "SQL changed what is asked for before the key is used. A rule that was set here stays at least as strict",
                advice: "find out who did it, then set the rule again: fieldseal key control --org \(organization.name)")
        ]
    }
}
