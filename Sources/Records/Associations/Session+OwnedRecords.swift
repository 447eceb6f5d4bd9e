import Foundation
import Model
import PostgresClient
import Tenancy

// A deleted team must not leave records without an owner.
extension Session {
    /// Removes the shares of a deleted team, and refuses its deletion while it owns records.
    ///
    /// Call it in the transaction that deleted the team's row. The DELETE has waited for transactions that were giving the team a
    /// record.
    ///
    /// - Throws: ``FieldsealError`` `.invalidArgument` saying how many records of which entity the team owns.
    func releaseOwner(_ entity: EntityDefinition, _ id: UUID, on connection: isolated PostgresConnection) throws {
        guard entity === EntityDefinition.team else { return }
        let counts = EntityCatalog.all.filter(\.isUserOwned).map { owned in
            "SELECT '\(owned.entitySetName)' AS entity_set, count(*) AS records FROM \(organization.qualified(owned.logicalName)) WHERE ownerid = $1"
        }
        let owned = try connection.query(counts.joined(separator: " UNION ALL "), [.uuid(id)]).compactMap { row -> String? in
            let count = try row.decode("records", as: Int.self)
            return count == 0 ? nil : "\(count) \(try row.decode("entity_set", as: String.self))"
        }
        guard owned.isEmpty else {
            throw FieldsealError(
                .invalidArgument,
                "The team owns \(owned.joined(separator: ", ")). Assign these records to another owner, and delete the team then.")
        }
        _ = try connection.query(
            "DELETE FROM \(organization.qualified("principal_access")) WHERE principal_entity = $2 AND principal_id = $1",
            [.uuid(id), .text(entity.logicalName)])
    }
}
