import Foundation
import Model
import PostgresClient
import Tenancy

// Clears the lookups of other records that refer to a deleted record.
extension PreparedWrite {
    /// Clears the lookups that refer to a deleted record, if their relationship says so (`RemoveLink`). The caller needs no rights
    /// on the records that this changes.
    ///
    /// Call it in the transaction that deleted the row. The DELETE has waited for transactions that were making another record
    /// refer to the row.
    func removeLinks(to id: UUID, on connection: isolated PostgresConnection) throws {
        for relationship in removedLinks {
            let clear = {
                let input = ParsedValues(relationship.referencing, clearing: relationship.attribute)
                var update = UpdateStatement(input, caller, organization)
                let condition = "\(relationship.attribute.column) = $\(update.bind(.uuid(id)))"
                let none = PasswordEvents(relationship.referencing, id, [:], in: session)
                _ = try session.run([try update.statement(where: [condition], cells: nil, nil, none)], on: connection)
            }
            if entity === EntityDefinition.emailServerProfile {
                try MailDestination.removing(profile: id, from: session, on: connection, clear)
            } else {
                try clear()
            }
        }
    }

    /// The relationships whose lookups a delete of this entity's records clears.
    var removedLinks: [EntityRelationship] { entity.oneToMany.filter { $0.deletion == .removeLink } }
}
