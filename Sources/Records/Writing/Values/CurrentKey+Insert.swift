import Foundation
import Model
import PostgresClient
import Tenancy

extension Session.CurrentKey {
    /// Encrypts the values of a new record, and returns the INSERT of its cells.
    func insert(_ secrets: [String: String], of entity: EntityDefinition, _ id: UUID, in organization: Organization) throws
        -> (sql: String, parameters: [PostgresParameter])
    {
        let names = secrets.keys.sorted()
        let cells = try names.map { name in try secrets[name].map { try seal($0, entity, name, id, organization) } }
        let sql = """
            INSERT INTO \(organization.qualified(entity.cellTable))
                (key_version, \(entity.idColumn), \(names.map(quoteIdentifier).joined(separator: ", ")))
            VALUES ($1, $2, \(names.indices.map { "$\($0 + 3)" }.joined(separator: ", ")))
            """
        return (sql, [.int32(Int32(version)), .uuid(id)] + cells.map { .bytes($0) })
    }
}
