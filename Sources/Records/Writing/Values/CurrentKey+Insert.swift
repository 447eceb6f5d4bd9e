import Foundation
import Model
import PostgresClient
import Tenancy

extension Session.CurrentKey {
    /// Encrypts the values of a new record, and returns the INSERT of its cells.
    func insert(_ secrets: [String: String], of entity: EntityDefinition, _ id: UUID, in organization: Organization) throws
        -> RowInsert
    {
        let names = secrets.keys.sorted()
        let cells = try names.map { name in try secrets[name].map { try seal($0, entity, name, id, organization) } }
        let columns = ([entity.idColumn] + names.map(quoteIdentifier)).joined(separator: ", ")
        let arrays = (1...names.count + 1).map { "$\($0)" }.joined(separator: ", ")
        return RowInsert(
            """
            INSERT INTO \(organization.qualified(entity.cellTable)) (key_version, \(columns))
            SELECT $\(names.count + 2), added.* FROM unnest(\(arrays)) AS added
            """, own: [.uuid(id)] + cells.map { .bytes($0) }, shared: [.int32(Int32(version))])
    }
}
