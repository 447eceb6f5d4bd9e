import Foundation
import Model
import PostgresClient
import Tenancy

// What a delete does to the lookups of other records.
extension PreparedWrite {
    /// Clears the lookups that refer to a deleted record, where their relationship says so (`RemoveLink`). It is a change of those
    /// records by the caller, whose rights on them do not count.
    ///
    /// Call it in the transaction that deleted the row: its lock waits for those that are binding a record to it.
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
