import Foundation
import PostgresClient

extension Session {
    /// The ids of the records that a key names; two at most, when it is ambiguous.
    func ids(of target: EntityDefinition, _ key: RecordKey, on connection: isolated PostgresConnection) throws -> [UUID] {
        var statement = StatementBuilder(organization, caller)
        let id = target.idColumn
        let condition: String
        switch key {
        case .id(let value): condition = "\(id) = \(statement.bind(.uuid(value)))"
        case .alternate(let values):
            _ = try key.filter(target)
            condition = try values.map { name, value in
                guard let attribute = target[name] else { throw QueryScope.unknown(entity: name) }
                let bound = statement.bind(try attribute.type.value(of: value, for: attribute), attribute.type)
                return attribute.type.isText ? "lower(\(quoteIdentifier(name))) = \(bound)" : "\(quoteIdentifier(name)) = \(bound)"
            }.joined(separator: " AND ")
        }
        let rows = try connection.query(
            "SELECT \(id) FROM \(organization.qualified(target.logicalName)) WHERE \(condition) LIMIT 2", statement.parameters)
        return try rows.map { try $0.decode(0) }
    }
}
