import Foundation
import Model
import PostgresClient
import Tenancy

/// One statement that updates a record and writes or clears its cells. Either both changes happen, or none.
struct UpdateStatement {
    private let entity: EntityDefinition
    private let organization: Organization
    private var assignments: [String] = []
    var parameters: [PostgresParameter] = []

    init(_ input: ParsedValues, _ caller: Caller, _ organization: Organization) {
        entity = input.entity
        self.organization = organization
        var values = input.values
        values[entity.primaryID] = nil
        if case .int(let state) = values["statecode"], values["statuscode"] == nil,
            case .status(let statuses) = entity["statuscode"]?.type
        {
            // The state's default status, if the client sets no other status.
            let status =
                entity.logicalName == EntityDefinition.email.logicalName ? EmailStatus(state: state)?.rawValue : state + 1
            if let status, statuses.contains(status) { values["statuscode"] = .int(status) }
        }
        if case .id(let owner) = values["ownerid"] {
            let isTeam = values["owneridtype"] == .text("team")
            values["owninguser"] = isTeam ? .null : .id(owner)
            values["owningteam"] = isTeam ? .id(owner) : .null
        }
        if let user = caller.systemUserID, entity["modifiedby"] != nil { values["modifiedby"] = .id(user) }
        let hasDelegate = entity["modifiedonbehalfby"] != nil
        if hasDelegate, let impersonation = caller.impersonation { values["modifiedonbehalfby"] = .id(impersonation.systemUserID) }
        for attribute in entity.attributes {
            guard let value = values[attribute.logicalName] else { continue }
            let number = bind(attribute.type.parameter(value))
            assignments.append("\(attribute.column) = \(attribute.type.placeholder(number))")
            if let name = DerivedName(attribute, of: entity, isTeam: values["owneridtype"] == .text("team")) {
                assignments.append(
                    "\(quoteIdentifier(name.column)) = \(name.expression(in: organization, placeholder: "$\(number)"))")
            }
        }
        if hasDelegate, caller.impersonation == nil {
            assignments.append("modifiedonbehalfby = NULL, modifiedonbehalfbyname = NULL")
        }
        if entity["modifiedon"] != nil { assignments.append("modifiedon = now()") }
        let sequence = organization.qualified("version_number").replacing("'", with: "''")
        assignments.append("versionnumber = nextval('\(sequence)')")
        for (attribute, secret) in input.secrets.sorted(by: { $0.key < $1.key }) {
            guard let flag = entity.isSetColumns[attribute] else { continue }
            assignments.append("\(quoteIdentifier(flag)) = \(secret == nil ? "false" : "true")")
        }
    }

    /// Adds a parameter and returns its number.
    mutating func bind(_ parameter: PostgresParameter) -> Int {
        parameters.append(parameter)
        return parameters.count
    }

    /// The finished statement. It returns a row with the record's new version number, or no row if no record meets the conditions.
    ///
    /// - Parameters:
    ///   - conditions: The conditions that select the record.
    ///   - cells: The new cells by attribute, with nil to clear one; nil if no cell changes.
    ///   - keyVersion: The key version of the cells.
    ///   - events: The security events of the passwords among the values.
    func statement(
        where conditions: [String],
        cells: [String: [UInt8]?]?,
        _ keyVersion: Int?,
        _ events: PasswordEvents
    ) throws -> (sql: String, parameters: [PostgresParameter]) {
        let table = organization.qualified(entity.logicalName)
        let flags = events.flags.map { (old: quoteIdentifier($0), name: quoteIdentifier("was_\($0)")) }
        var before = ""
        var conditions = conditions
        if !flags.isEmpty {
            // The row is locked before its flags are read, so that a second writer sees the flags of the first.
            before = """
                old AS (SELECT \(entity.idColumn) AS old_id, \(flags.map { "\($0.old) AS \($0.name)" }.joined(separator: ", "))
                FROM \(table) WHERE \(conditions[0]) FOR NO KEY UPDATE),
                """
            conditions.append("old_id = \(entity.idColumn)")
        }
        let returned = [entity.idColumn, "versionnumber"] + flags.map(\.name)
        var sql = """
            WITH \(before) r AS (UPDATE \(table) SET \(assignments.joined(separator: ", ")) \(flags.isEmpty ? "" : "FROM old")
            WHERE \(conditions.joined(separator: " AND ")) RETURNING \(returned.joined(separator: ", ")))
            """
        var parameters = parameters
        if let cells, let keyVersion {
            sql += cellPart(cells, keyVersion, &parameters)
        }
        if !events.isEmpty { sql += ", e AS (\(try events.insertion(of: "r", &parameters)))" }
        return (sql + " SELECT versionnumber FROM r", parameters)
    }

    private func cellPart(_ cells: [String: [UInt8]?], _ keyVersion: Int, _ parameters: inout [PostgresParameter]) -> String {
        let id = entity.idColumn
        let table = organization.qualified(entity.cellTable)
        let names = cells.keys.sorted()
        guard cells.values.contains(where: { $0 != nil }) else {
            // Clearing encrypts nothing, so it can't use a retired key. The key version is read while the statement holds the
            // table's lock.
            let nulls = names.map { "\(quoteIdentifier($0)) = NULL" }.joined(separator: ", ")
            return """
                , c AS (UPDATE \(table) AS t SET \(nulls) FROM r
                WHERE t.key_version = (SELECT e.key_version FROM \(organization.qualified("encryption")) AS e) AND t.\(id) = r.\(id))
                """
        }
        parameters.append(.int32(Int32(keyVersion)))
        let version = "$\(parameters.count)"
        var placeholders: [String] = []
        for name in names {
            parameters.append(.bytes(cells[name].flatMap { $0 }))
            placeholders.append("$\(parameters.count)")
        }
        let columns = names.map(quoteIdentifier)
        return """
            , c AS (INSERT INTO \(table) (key_version, \(id), \(columns.joined(separator: ", ")))
            SELECT \(version), r.\(id), \(placeholders.joined(separator: ", ")) FROM r
            ON CONFLICT (key_version, \(id))
            DO UPDATE SET \(columns.map { "\($0) = excluded.\($0)" }.joined(separator: ", ")))
            """
    }
}
