import Model
package import PostgresClient
package import Tenancy

/// Several new records of one entity, written by one INSERT.
///
/// Attributes that differ between the records are arrays with one element for each record. Other attributes are single parameters.
package struct RecordRows: Sendable {
    /// What to do with a record whose id exists already.
    package enum Conflict: Sendable {
        case fails
        /// Keep the existing record.
        case isLeft
    }

    private let entity: EntityDefinition
    private let conflict: Conflict
    private var columns: [String] = []
    private var expressions: [String] = []
    private var parameters: [PostgresParameter] = []
    private var arrays: [(column: String, number: Int)] = []
    private var joins: [String] = []

    /// - Parameters:
    ///   - drafts: At least one new record; all are of one entity.
    ///   - own: The attributes that may differ between the drafts.
    package init(_ drafts: [NewRecord], own: Set<String>, in organization: Organization, conflict: Conflict = .fails) {
        entity = drafts[0].entity
        self.conflict = conflict
        let isTeam = drafts[0].values["owneridtype"] == .text("team")
        for attribute in entity.attributes where !attribute.isEncrypted {
            let name = attribute.logicalName
            if own.contains(name) {
                let expression = add(drafts.map { attribute.type.parameter($0.values[name] ?? .null) }, named: attribute.column)
                fill(attribute, expression, isTeam, organization)
            } else if let value = drafts[0].values[name], value != .null {
                parameters.append(attribute.type.parameter(value))
                fill(attribute, attribute.type.placeholder(parameters.count), isTeam, organization)
            }
        }
    }

    private mutating func fill(_ attribute: AttributeDefinition, _ expression: String, _ isTeam: Bool, _ organization: Organization)
    {
        fill(attribute.column, with: expression)
        guard let name = DerivedName(attribute, of: entity, isTeam: isTeam) else { return }
        fill(quoteIdentifier(name.column), with: name.expression(in: organization, placeholder: expression))
    }

    /// Adds values for the statement's expressions, one for each record.
    ///
    /// - Returns: The expression for a record's own value.
    @discardableResult
    package mutating func add(_ values: [PostgresParameter], named column: String) -> String {
        parameters.append(.array(values))
        arrays.append((column, parameters.count))
        return "added.\(column)"
    }

    /// Sets a column that is not an attribute of the drafts.
    package mutating func fill(_ column: String, with expression: String) {
        columns.append(column)
        expressions.append(expression)
    }

    /// Joins a table that expressions use.
    package mutating func join(_ sql: String) { joins.append(sql) }

    /// The INSERT and its parameters. The statement returns the ids of the new records.
    package func statement(in organization: Organization) -> (sql: String, parameters: [PostgresParameter]) {
        let id = entity.idColumn
        let arguments = arrays.map { "$\($0.number)" }.joined(separator: ", ")
        return (
            """
            INSERT INTO \(organization.qualified(entity.logicalName)) (\(columns.joined(separator: ", ")))
            SELECT \(expressions.joined(separator: ", "))
              FROM unnest(\(arguments)) AS added (\(arrays.map(\.column).joined(separator: ", ")))
              \(joins.joined(separator: "\n  "))
            \(conflict.clause(on: id)) RETURNING \(id)
            """, parameters
        )
    }
}

extension RecordRows.Conflict {
    fileprivate func clause(on id: String) -> String {
        switch self {
        case .fails: ""
        case .isLeft: "ON CONFLICT (\(id)) DO NOTHING"
        }
    }
}
