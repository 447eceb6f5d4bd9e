import Foundation
import HTTPTypes
import JSON
import Model
import Records

/// The criteria of a query expression in a message.
enum QueryExpression {
    /// Members that have no effect, because the service reads only the ids of the matching records.
    private static let harmless: Set<String> = [
        "ColumnSet", "DataSource", "Distinct", "EntityName", "ForceSeek", "NoLock", "Orders", "QueryHints",
    ]

    /// Refuses members that would restrict the query and are not supported. Otherwise more records would match than intended.
    static func check(_ query: JSONValue, of entity: EntityDefinition) throws(FieldsealError) {
        guard case .object(let members) = query else {
            throw FieldsealError(.payloadDoesNotFit, "A query expression must be an object with an EntityName and Criteria.")
        }
        for member in members where member.name != "Criteria" && !harmless.contains(member.name) && !member.name.contains("@") {
            let isEmpty = member.value == .null || member.value == .array([]) || member.name == "PageInfo" && isWhole(member.value)
            guard isEmpty else {
                throw FieldsealError(
                    .payloadDoesNotFit, "\(member.name.prefix(100)) of a query expression is not supported here. Leave it out.")
            }
        }
        try check(query["Criteria"] ?? .null, ["Conditions", "Filters", "FilterOperator", "IsQuickFindFilter"], "Criteria")
        try check(columns: query["ColumnSet"] ?? .null, of: entity)
        try check(orders: query["Orders"] ?? .null, of: entity)
    }

    /// Refuses unknown columns. Columns have no effect in such a query, but an unknown column shows a mistake in it.
    private static func check(columns set: JSONValue, of entity: EntityDefinition) throws(FieldsealError) {
        guard set != .null else { return }
        guard case .object = set else { throw FieldsealError(.payloadDoesNotFit, "ColumnSet must be an object with Columns.") }
        try check(set, ["AllColumns", "Columns"], "A ColumnSet")
        switch set["Columns"] {
        case nil, .null?: return
        case .array(let names)?: for name in names { try require(name, of: entity) }
        default: throw FieldsealError(.payloadDoesNotFit, "Columns of a ColumnSet must be an array of names.")
        }
    }

    private static func check(orders: JSONValue, of entity: EntityDefinition) throws(FieldsealError) {
        guard orders != .null else { return }
        guard case .array(let orders) = orders else {
            throw FieldsealError(.payloadDoesNotFit, "Orders of a query expression must be an array.")
        }
        for order in orders {
            try check(order, ["AttributeName", "OrderType"], "An order")
            try require(order["AttributeName"] ?? .null, of: entity)
        }
    }

    private static func require(_ name: JSONValue, of entity: EntityDefinition) throws(FieldsealError) {
        guard let name = name.string else {
            throw FieldsealError(.payloadDoesNotFit, "A query expression names an attribute with something that is not text.")
        }
        guard entity.attribute(named: name) == nil else { return }
        throw FieldsealError(.noSuchAttribute, "\(entity.logicalName) has no attribute \(name.quotedForMessage).")
    }

    /// Whether a `PagingInfo` asks for every record, as it does if the client sets none of its members.
    private static func isWhole(_ info: JSONValue) -> Bool {
        guard case .object(let members) = info else { return false }
        return members.allSatisfy { member in
            switch member.name {
            case "Count": [.null, .integer(0)].contains(member.value)
            case "PageNumber": [.null, .integer(0), .integer(1)].contains(member.value)
            case "PagingCookie": [.null, .string("")].contains(member.value)
            case "ReturnTotalRecordCount": [.null, .bool(false), .bool(true)].contains(member.value)
            default: member.name.contains("@")
            }
        }
    }

    private static func check(_ value: JSONValue, _ known: Set<String>, _ what: String) throws(FieldsealError) {
        guard case .object(let members) = value else { return }
        for member in members where !known.contains(member.name) && !member.name.contains("@") && member.value != .null {
            throw FieldsealError(.payloadDoesNotFit, "\(what) has no member '\(member.name.prefix(100))' here. Leave it out.")
        }
    }

    static func filter(_ criteria: JSONValue, depth: Int = 0) throws(FieldsealError) -> Filter {
        try check(criteria, ["Conditions", "Filters", "FilterOperator", "IsQuickFindFilter"], "Criteria")
        if let join = criteria["FilterOperator"]?.string?.lowercased(), !["and", "or"].contains(join) {
            throw FieldsealError(.payloadDoesNotFit, "FilterOperator must be And or Or.")
        }
        guard depth < 20 else { throw FieldsealError(.payloadDoesNotFit, "Criteria may be nested at most 20 levels deep.") }
        var parts: [Filter] = []
        if case .array(let conditions)? = criteria["Conditions"] {
            for condition in conditions { parts.append(try self.condition(condition)) }
        }
        if case .array(let filters)? = criteria["Filters"] {
            for filter in filters { parts.append(try self.filter(filter, depth: depth + 1)) }
        }
        guard !parts.isEmpty else {
            throw FieldsealError(
                .payloadDoesNotFit, "Criteria has no condition. To delete every record, give a condition that every record meets.")
        }
        return criteria["FilterOperator"]?.string?.lowercased() == "or" ? .any(parts) : .all(parts)
    }

    private static func condition(_ condition: JSONValue) throws(FieldsealError) -> Filter {
        try check(condition, ["AttributeName", "Operator", "Values"], "A condition")
        guard let name = condition["AttributeName"]?.string, let comparison = condition["Operator"]?.string else {
            throw FieldsealError(.payloadDoesNotFit, "A condition must have an AttributeName and an Operator.")
        }
        var values: [Literal] = []
        if case .array(let elements)? = condition["Values"] {
            for element in elements {
                guard let literal = literal(try TypedValue.value(element, comparedWith: name)) else {
                    throw FieldsealError(.payloadDoesNotFit, "A value of a condition must be a text, a number or a boolean.")
                }
                values.append(literal)
            }
        }
        do {
            return try QueryOperator.filter(comparison, RecordQuery.Column(name), values)
        } catch {
            throw FieldsealError(.payloadDoesNotFit, "A condition of the query can't be read. \(error.message)")
        }
    }

    private static func literal(_ value: JSONValue) -> Literal? {
        switch value {
        case .null: .null
        case .bool(let flag): .bool(flag)
        case .integer(let number): .number(String(number))
        case .number(let text): .number(text)
        case .string(let text): .text(text)
        default: nil
        }
    }
}
