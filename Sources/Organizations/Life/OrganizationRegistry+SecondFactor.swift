import Authentication
import Model
import PostgresClient
package import Tenancy

extension OrganizationRegistry {
    /// Requires one-time passwords of the people in these roles, and of no other people. A person without one-time passwords must
    /// turn them on at the next page.
    ///
    /// - Throws: ``FieldsealError`` when there is no such organization, or its attested state does not verify.
    package func requireSecondFactor(of roles: Set<Role>, in name: String, by caller: Caller) async throws {
        try await asOwner(lockLimit: Self.lockLimit) { connection in
            let organization = try registered(name, on: connection)
            try SecondFactorPolicy.require(of: roles, in: organization, by: caller, under: kek, on: connection)
        }
    }
}
