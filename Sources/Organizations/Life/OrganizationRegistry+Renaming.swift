import Foundation
import KeyManagement
import Model
import PostgresClient
package import Tenancy

extension OrganizationRegistry {
    /// Renames an organization and its schema in one transaction. The organization's id, key and cells do not change.
    ///
    /// Tokens and addresses contain the name. So clients must sign in again with the new name.
    ///
    /// - Throws: ``FieldsealError`` for a name that is malformed or that another organization has, while the key is being set, and
    ///   when the attested state does not verify.
    package func rename(_ name: String, to new: String, by caller: Caller) async throws -> Organization {
        guard Organization.isName(new), new != name else {
            throw FieldsealError(
                .invalidArgument,
                "\(new.quotedForMessage) can't be its new name. A name is 1 to 39 lower-case letters, digits and hyphens, begins with "
                    + "a letter, and differs from the old one.")
        }
        try Organization.checkReachable(new)
        return try await asOwner { connection in
            let organization = try registered(name, on: connection)
            let renamed = Organization(id: organization.id, name: new)
            try KeySetLock.take(organization, on: connection)
            try connection.execute("SET LOCAL lock_timeout = '\(OrganizationRemoval.lockTimeout)'")
            do {
                // The event is written under the schema's old name. Writing the event is the last statement with the old name.
                try AttestedState.change(of: organization, under: kek, on: connection) { change in
                    let event = SecurityEvent(.organizationRenamed, .succeeded, details: "\(name) to \(new)")
                    try change.append(event, by: caller, on: connection)
                }
                try connection.execute(
                    "ALTER SCHEMA \(quoteIdentifier(organization.schema)) RENAME TO \(quoteIdentifier(renamed.schema))")
                try fixSearchPaths(in: renamed.schema, on: connection)
                _ = try connection.query(
                    "UPDATE config.organization SET name = $2, schema_name = $3 WHERE organization_id = $1",
                    [.uuid(renamed.id), .text(new), .text(renamed.schema)])
                _ = try connection.query(
                    "UPDATE \(renamed.qualified("organization")) SET name = $1 WHERE name = $2", [.text(new), .text(name)])
            } catch let error as PostgresError where [.duplicateSchema, .uniqueViolation].contains(error.state) {
                throw FieldsealError(
                    .duplicateRecord,
                    "The name \(new) is taken: there is an organization or a schema \(renamed.schema). Nothing was changed.")
            } catch let error as PostgresError where error.state == .lockNotAvailable {
                throw HeldTables(organization: organization, change: "renamed")
            }
            return renamed
        }
    }
}
