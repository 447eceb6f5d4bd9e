package import CellCrypto
package import Foundation
import JSON
package import PostgresClient

// The attested contents of an API client.
extension OrganizationState.ClientRow {
    package static func name(_ id: UUID) -> Grant.Name { Grant.Name(.client, [id.bytes]) }

    /// The grant that attests this client.
    package func grant(in organization: Organization) -> Grant {
        Self.grant(id, organization, name: name, systemUser: systemUserID, role: role, disabledOn: disabledOn)
    }

    /// Whether the client's row is as this service wrote it last.
    package func isNewest(in grants: GrantList, of organization: Organization, under kek: KeyEncryptionKey) throws -> Bool {
        try grants.isNewest(grant(in: organization), tag: tag, isDisabled: disabledOn != nil, under: kek)
    }

    package static func grant(
        _ id: UUID, _ organization: Organization, name: String, systemUser: UUID, role: String, disabledOn: PostgresMoment?
    ) -> Grant {
        Grant(
            Self.name(id),
            [
                organization.id.bytes, Grant.field(name), systemUser.bytes, Grant.field(role), Grant.field(disabledOn),
            ])
    }
}

extension OrganizationState {
    /// The roles of the client that was read; none for a client that may not act.
    package func rolesOfClient(under kek: KeyEncryptionKey) throws -> RoleSet {
        guard let client, let role = Role(rawValue: client.role), try mayAct(client, under: kek) else { return [] }
        return grantedRoles.union(RoleSet(role))
    }

    /// Whether this service wrote the client's row, and the client and its systemuser are enabled.
    package func mayAct(_ client: ClientRow, under kek: KeyEncryptionKey) throws -> Bool {
        try client.disabledOn == nil && grants.authenticates(client.grant(in: organization), tag: client.tag, under: kek)
            && !client.isUserDisabled && !isDisabled(systemUser: client.systemUserID)
    }
}
