import Foundation
import HTTPTypes
import JSON
import Model
import Records

// Actions on many records at once. All of them succeed or none.
extension DataAPI {
    func collectionAction(_ name: String, _ entity: EntityDefinition, _ request: APIRequest) async throws -> APIAnswer {
        if entity.logicalName == "email", Self.incomingMessages.contains(name) {
            return try await incomingEmail(name, request)
        }
        guard request.method == .post else {
            guard Self.bulkMessages.contains(name) else { throw ODataPath.unknown(name) }
            throw MethodNotAllowed(.post)
        }
        return try await answer(try bulkChange(name, entity, request))
    }

    static func isCollectionAction(_ name: String) -> Bool {
        bulkMessages.contains(name) || incomingMessages.contains(name)
    }

    private static let incomingMessages = ["CheckIncomingEmail", "DeliverIncomingEmail"]
    private static let bulkMessages = ["CreateMultiple", "UpdateMultiple", "UpsertMultiple"]

    /// The writes of a message for many records.
    func bulkChange(_ name: String, _ entity: EntityDefinition, _ request: APIRequest) throws -> Change {
        guard Self.bulkMessages.contains(name) else { throw ODataPath.unknown(name) }
        try request.requireNoOptions()
        let targets = try targets(request, entity, of: name)
        if name != "CreateMultiple" { try RecordKey.requireDistinct(try targets.map { try key($0, entity) }) }
        let writes = try targets.map { members -> RecordWrite in
            switch name {
            case "CreateMultiple": return .create(entity, members)
            case "UpdateMultiple": return .upsert(entity, try key(members, entity), members, .mustExist)
            default: return .upsert(entity, try key(members, entity), members)
            }
        }
        let representation = representation(request)
        return Change(writes, address: serviceRoot + request.path) { outcomes in
            switch name {
            case "CreateMultiple":
                return APIAnswer.json(
                    .object([
                        representation.context("Microsoft.Dynamics.CRM.CreateMultipleResponse"),
                        .init("Ids", .array(outcomes.map { .string($0.id.text) })),
                    ]))
            case "UpsertMultiple":
                let results = outcomes.map { outcome -> JSONValue in
                    ["RecordCreated": .bool(outcome.isCreated), "Target": [entity.primaryID: .string(outcome.id.text)]]
                }
                return APIAnswer.json(
                    .object([
                        representation.context("Microsoft.Dynamics.CRM.UpsertMultipleResponse"),
                        .init("Results", .array(results)),
                    ]))
            default: return APIAnswer.noContent()
            }
        }
    }

    private func targets(
        _ request: APIRequest, _ entity: EntityDefinition, of message: String
    ) throws(FieldsealError) -> [[JSONValue.Member]] {
        let body = JSONValue.object(try request.members())
        try Self.require(["Targets"], in: body, of: message)
        guard case .array(let targets)? = body["Targets"] else {
            throw FieldsealError(.payloadDoesNotFit, "The body is {\"Targets\": […]} with the records.")
        }
        guard (1...APILimits.bulkCount).contains(targets.count) else {
            throw FieldsealError(.payloadDoesNotFit, "Targets takes 1 to \(APILimits.bulkCount) records.")
        }
        var members: [[JSONValue.Member]] = []
        for target in targets {
            guard case .object(let object) = target else {
                throw FieldsealError(.payloadDoesNotFit, "Each of Targets is an object.")
            }
            if let type = target["@odata.type"]?.string,
                type.drop(while: { $0 == "#" }) != "\(ODataPath.namespace)\(entity.logicalName)"
            {
                throw FieldsealError(.payloadDoesNotFit, "@odata.type of a target is \(ODataPath.namespace)\(entity.logicalName).")
            }
            members.append(object)
        }
        return members
    }

    /// A target's id, or the key in its `@odata.id`.
    private func key(_ members: [JSONValue.Member], _ entity: EntityDefinition) throws(FieldsealError) -> RecordKey {
        if let address = members.first(where: { $0.name == "@odata.id" })?.value.string {
            guard let (target, key) = try RecordInput.reference(address), target.logicalName == entity.logicalName else {
                throw FieldsealError(.payloadDoesNotFit, "@odata.id of a target is the address of a \(entity.logicalName).")
            }
            return key
        }
        guard let text = members.first(where: { $0.name.lowercased() == entity.primaryID })?.value.string,
            let id = UUID(text: text)
        else {
            throw FieldsealError(.payloadDoesNotFit, "A target has neither \(entity.primaryID) nor @odata.id.")
        }
        return .id(id)
    }

    /// `BulkDelete`: deletes the records that its query expressions match. It responds after that.
    func bulkDelete(_ request: APIRequest) async throws -> APIAnswer {
        guard request.method == .post else { throw MethodNotAllowed(.post) }
        let body = JSONValue.object(try request.members())
        try requireImmediate(body)
        guard case .array(let queries)? = body["QuerySet"], !queries.isEmpty
        else {
            throw FieldsealError(.payloadDoesNotFit, "BulkDelete takes a QuerySet of query expressions.")
        }
        var writes: [RecordWrite] = []
        for query in queries {
            guard let name = query["EntityName"]?.string, let entity = EntityCatalog.entity(name) else {
                throw FieldsealError(.payloadDoesNotFit, "A query expression has no EntityName that is known.")
            }
            try QueryExpression.check(query)
            var select = RecordQuery()
            select.outputs = [.init(.column(.init(entity.primaryID)))]
            select.filter = try QueryExpression.filter(query["Criteria"] ?? .null)
            let page = try await session.list(entity, select)
            guard page.next == nil, writes.count + page.records.count <= RecordQuery.pageLimit else {
                throw FieldsealError(.payloadDoesNotFit, "BulkDelete takes at most \(RecordQuery.pageLimit) records at a time.")
            }
            writes += page.records.map { .delete(entity, .id($0.id)) }
        }
        _ = try await session.write(writes)
        return APIAnswer.json(
            .object([
                representation(request).context("Microsoft.Dynamics.CRM.BulkDeleteResponse"), .init("JobId", .string(UUID().text)),
            ]))
    }
}

extension DataAPI {
    private static let bulkDeleteMembers: Set<String> = [
        "QuerySet", "JobName", "SendEmailNotification", "ToRecipients", "CCRecipients", "RecurrencePattern", "StartDateTime",
        "SourceImportId", "RunNow",
    ]

    /// Refuses a deletion that is scheduled, recurring, or with notifications.
    fileprivate func requireImmediate(_ body: JSONValue) throws(FieldsealError) {
        guard case .object(let members) = body else { return }
        for member in members where !member.name.contains("@") {
            guard Self.bulkDeleteMembers.contains(member.name) else {
                throw FieldsealError(.payloadDoesNotFit, "BulkDelete has no parameter '\(member.name.prefix(100))'.")
            }
            let isRefused: Bool =
                switch (member.name, member.value) {
                case ("RecurrencePattern", .string(let text)): !text.isEmpty
                case ("StartDateTime", .string(let text)): ISO8601.date(text).map { $0 > Date() } ?? true
                case ("SendEmailNotification", .bool(let flag)): flag
                case ("RunNow", .bool(let flag)): !flag
                default: false
                }
            guard !isRefused else {
                throw FieldsealError(
                    .notImplemented, "BulkDelete deletes before it answers: \(member.name) with this value is not supported.")
            }
        }
    }
}

/// The criteria of a query expression in a message.
enum QueryExpression {
    /// Members that have no effect, because only ids are read.
    private static let harmless: Set<String> = [
        "ColumnSet", "DataSource", "Distinct", "EntityName", "ForceSeek", "NoLock", "Orders", "QueryHints",
    ]

    /// Refuses members that would restrict the query and are not supported. Otherwise more records would match than intended.
    static func check(_ query: JSONValue) throws(FieldsealError) {
        guard case .object(let members) = query else {
            throw FieldsealError(.payloadDoesNotFit, "A query expression is an object with an EntityName and Criteria.")
        }
        for member in members where member.name != "Criteria" && !harmless.contains(member.name) && !member.name.contains("@") {
            let isEmpty = member.value == .null || member.value == .array([]) || member.name == "PageInfo" && isWhole(member.value)
            guard isEmpty else {
                throw FieldsealError(
                    .payloadDoesNotFit, "\(member.name.prefix(100)) of a query expression is not supported here. Leave it out.")
            }
        }
        try check(query["Criteria"] ?? .null, ["Conditions", "Filters", "FilterOperator", "IsQuickFindFilter"], "Criteria")
    }

    /// Whether a `PagingInfo` asks for every record, as it does where clients leave its members as they are.
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
            throw FieldsealError(.payloadDoesNotFit, "FilterOperator is And or Or.")
        }
        guard depth < 20 else { throw FieldsealError(.payloadDoesNotFit, "Criteria may be nested 20 levels deep.") }
        var parts: [Filter] = []
        if case .array(let conditions)? = criteria["Conditions"] {
            for condition in conditions { parts.append(try self.condition(condition)) }
        }
        if case .array(let filters)? = criteria["Filters"] {
            for filter in filters { parts.append(try self.filter(filter, depth: depth + 1)) }
        }
        guard !parts.isEmpty else {
            throw FieldsealError(.payloadDoesNotFit, "Criteria has no condition; deleting every record needs one that says so.")
        }
        return criteria["FilterOperator"]?.string?.lowercased() == "or" ? .any(parts) : .all(parts)
    }

    private static func condition(_ condition: JSONValue) throws(FieldsealError) -> Filter {
        try check(condition, ["AttributeName", "Operator", "Values"], "A condition")
        guard let name = condition["AttributeName"]?.string, let comparison = condition["Operator"]?.string else {
            throw FieldsealError(.payloadDoesNotFit, "A condition has an AttributeName and an Operator.")
        }
        var values: [Literal] = []
        if case .array(let elements)? = condition["Values"] {
            for element in elements {
                guard let literal = literal(element["Value"] ?? element) else {
                    throw FieldsealError(.payloadDoesNotFit, "A value of a condition is a text, a number or a boolean.")
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
