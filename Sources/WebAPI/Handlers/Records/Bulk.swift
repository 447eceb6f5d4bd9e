import Foundation
import HTTPTypes
import JSON
import Model
import Records

// Actions on many records at once. Either all records are written, or none is.
extension DataAPI {
    func collectionAction(_ name: String, _ entity: EntityDefinition, _ request: APIRequest) async throws -> APIResponse {
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

    static let incomingMessages = ["CheckIncomingEmail", "DeliverIncomingEmail"]
    private static let bulkMessages = ["CreateMultiple", "UpdateMultiple", "UpsertMultiple"]

    /// The writes of `CreateMultiple`, `UpdateMultiple` or `UpsertMultiple`.
    func bulkChange(_ name: String, _ entity: EntityDefinition, _ request: APIRequest) throws -> Change {
        guard Self.bulkMessages.contains(name) else { throw ODataPath.unknown(name) }
        try request.requireNoOptions()
        let targets = try targets(request, entity, of: name)
        if name != "CreateMultiple" { try RecordKey.requireDistinct(try targets.map { try key($0, entity) }) }
        let message = UUID()
        let writes = try targets.map { members -> RecordWrite in
            switch name {
            case "CreateMultiple": return .create(entity, members)
            case "UpdateMultiple":
                return .upsert(entity, try key(members, entity), members, try version(members) ?? .mustExist, among: message)
            default: return .upsert(entity, try key(members, entity), members, try version(members) ?? .none, among: message)
            }
        }
        let representation = representation(request)
        return Change(writes, address: serviceRoot + request.path) { outcomes in
            switch name {
            case "CreateMultiple":
                return APIResponse.json(
                    .object([
                        representation.context("Microsoft.Dynamics.CRM.CreateMultipleResponse"),
                        .init("Ids", .array(outcomes.map { .string($0.id.text) })),
                    ]))
            case "UpsertMultiple":
                let results = outcomes.map { outcome -> JSONValue in
                    ["RecordCreated": .bool(outcome.isCreated), "Target": [entity.primaryID: .string(outcome.id.text)]]
                }
                return APIResponse.json(
                    .object([
                        representation.context("Microsoft.Dynamics.CRM.UpsertMultipleResponse"),
                        .init("Results", .array(results)),
                    ]))
            default: return APIResponse.noContent()
            }
        }
    }

    private func targets(
        _ request: APIRequest, _ entity: EntityDefinition, of message: String
    ) throws(FieldsealError) -> [[JSONValue.Member]] {
        let body = JSONValue.object(try request.members())
        try Self.require(["Targets"], in: body, of: message)
        guard case .array(let targets)? = body["Targets"] else {
            throw FieldsealError(.payloadDoesNotFit, "The body must be {\"Targets\": […]} with the records.")
        }
        guard (1...APILimits.bulkCount).contains(targets.count) else {
            throw FieldsealError(.payloadDoesNotFit, "Targets takes 1 to \(APILimits.bulkCount) records.")
        }
        var members: [[JSONValue.Member]] = []
        for target in targets {
            guard case .object(let object) = target else {
                throw FieldsealError(.payloadDoesNotFit, "Each of Targets must be an object.")
            }
            if let type = target["@odata.type"]?.string,
                type.drop(while: { $0 == "#" }) != "\(ODataPath.namespace)\(entity.logicalName)"
            {
                throw FieldsealError(
                    .payloadDoesNotFit, "@odata.type of a target must be \(ODataPath.namespace)\(entity.logicalName).")
            }
            members.append(object)
        }
        return members
    }

    /// The version in a target's `@odata.etag`, which has the effect that `If-Match` has for one record; nil if the target has
    /// none.
    private func version(_ members: [JSONValue.Member]) throws(FieldsealError) -> WriteCondition? {
        guard let value = members.first(where: { $0.name == "@odata.etag" })?.value, value != .null else { return nil }
        guard let tag = value.string, let version = EntityTags.version(tag) else {
            throw FieldsealError(.payloadDoesNotFit, "@odata.etag of a target takes the ETag of a record, such as W/\"1234\".")
        }
        return .version(version)
    }

    /// A target's id, or the key in its `@odata.id`.
    private func key(_ members: [JSONValue.Member], _ entity: EntityDefinition) throws(FieldsealError) -> RecordKey {
        if let address = members.first(where: { $0.name == "@odata.id" })?.value.string {
            guard let (target, key) = try ParsedValues.reference(address), target.logicalName == entity.logicalName else {
                throw FieldsealError(.payloadDoesNotFit, "@odata.id of a target must be the address of \(entity.withArticle).")
            }
            return key
        }
        guard let id = entity.id(in: members) else {
            guard
                !members.contains(where: { entity.isID($0.name.lowercased()) && $0.value.string.flatMap { UUID(text: $0) } != nil })
            else { throw FieldsealError(.payloadDoesNotFit, "A target has the empty id, and no \(entity.logicalName) has it.") }
            throw FieldsealError(.payloadDoesNotFit, "A target has neither \(entity.primaryID) nor @odata.id.")
        }
        return .id(id)
    }

    /// `BulkDelete`: deletes the records that its query expressions match. The response comes when the records are deleted.
    func bulkDelete(_ request: APIRequest) async throws -> APIResponse {
        guard request.method == .post else { throw MethodNotAllowed(.post) }
        let body = JSONValue.object(try request.members())
        try await requireImmediate(body)
        guard case .array(let queries)? = body["QuerySet"], !queries.isEmpty
        else {
            throw FieldsealError(.payloadDoesNotFit, "BulkDelete takes a QuerySet of query expressions.")
        }
        var writes: [RecordWrite] = []
        for query in queries {
            guard let name = query["EntityName"]?.string, let entity = EntityCatalog.entity(name) else {
                throw FieldsealError(.payloadDoesNotFit, "A query expression has no EntityName that is known.")
            }
            try QueryExpression.check(query, of: entity)
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
        return APIResponse.json(
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

    private func areUsers(_ values: [JSONValue], _ name: String) async throws -> Bool {
        // Finding each user may take a query, so the number of users is limited.
        guard values.count <= APILimits.bulkCount else { return false }
        for value in values where try await principal(value, name).entity != "systemuser" { return false }
        return true
    }

    /// Refuses a deletion that is scheduled, recurring, or with notifications.
    fileprivate func requireImmediate(_ body: JSONValue) async throws {
        guard case .object(let members) = body else { return }
        for member in members where !member.name.contains("@") {
            guard Self.bulkDeleteMembers.contains(member.name) else {
                throw FieldsealError(.payloadDoesNotFit, "BulkDelete has no parameter '\(member.name.prefix(100))'.")
            }
            let isRefused: Bool =
                switch (member.name, member.value) {
                case (_, .null): false
                case ("RecurrencePattern", .string(let text)): !text.isEmpty
                case ("StartDateTime", .string(let text)): ISO8601.date(text).map { $0 > Date() } ?? true
                case ("SendEmailNotification", .bool(let flag)): flag
                case ("RunNow", .bool(let flag)): !flag
                case ("ToRecipients", .array(let users)), ("CCRecipients", .array(let users)):
                    try await !areUsers(users, member.name)
                case ("JobName", .string), ("QuerySet", .array): false
                case ("SourceImportId", .string(let text)): UUID(text: text) == nil
                default: true
                }
            guard !isRefused else {
                throw FieldsealError(
                    .notImplemented, "BulkDelete deletes before it answers: \(member.name) with this value is not supported.")
            }
        }
    }
}
