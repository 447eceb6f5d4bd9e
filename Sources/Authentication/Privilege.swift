import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

/// One privilege of a role on the records of one entity, with Dataverse's name.
package struct Privilege: Sendable {
    /// For example `prvReadMailbox`.
    package let name: String
    package let depth: PrivilegeDepth

    /// The privileges of a role by name.
    static func all(of role: Role) -> [Privilege] {
        var privileges = EntityCatalog.all.flatMap { entity in
            entity.privileges.compactMap { message, name -> Privilege? in
                let depth = PrivilegeTable.depth(of: message, on: entity, for: role)
                return depth == .none ? nil : Privilege(name: name, depth: depth)
            }
        }
        // ``PrivilegeTable`` does not have the privileges for the encryption messages.
        if role == .systemAdministrator { privileges += encryption.map { Privilege(name: $0, depth: .organization) } }
        return privileges.sorted { $0.name < $1.name }
    }

    private static let encryption = ["prvChangeSqlEncryptionKey", "prvRestoreSqlEncryptionKey"]
}
