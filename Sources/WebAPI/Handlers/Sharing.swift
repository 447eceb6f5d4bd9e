import Fieldseal
import Foundation
import HTTPTypes

// Sharing records, and teams: messages of every entity that has owners.
extension DataAPI {
    /// `GrantAccess`, `ModifyAccess` and `RevokeAccess`.
    func share(_ name: String, _ request: APIRequest) async throws -> APIAnswer {
        guard request.method == .post else { throw MethodNotAllowed(.post) }
        let body = JSONValue.object(try request.members())
        let (entity, id) = try record(body["Target"], "Target")
        if name == "RevokeAccess" {
            try await session.unshare(entity, id, with: try principal(body["Revokee"], "Revokee"))
            return APIAnswer.noContent()
        }
        guard let access = body["PrincipalAccess"], let mask = access["AccessMask"]?.string else {
            throw FieldsealError(.payloadDoesNotFit, "\(name) takes a PrincipalAccess with a Principal and an AccessMask.")
        }
        try await session.share(
            entity, id, with: try principal(access["Principal"], "Principal"), try AccessRights(names: mask),
            replacing: name == "ModifyAccess")
        return APIAnswer.noContent()
    }

    /// `RetrieveSharedPrincipalsAndAccess(Target=@t)?@t={'@odata.id':'mailboxes(ID)'}`.
    func sharedPrincipals(_ arguments: String, _ request: APIRequest) async throws -> APIAnswer {
        guard request.method == .get else { throw MethodNotAllowed(.get) }
        let given = try FunctionArguments(arguments, request.query, of: "RetrieveSharedPrincipalsAndAccess", ["Target"])
        let (entity, id) = try record(given["Target"], "Target")
        let shares = try await session.shares(of: entity, id).map { principal, rights -> JSONValue in
            let set = EntityCatalog.entity(principal.entity)?.entitySetName ?? ""
            return [
                "AccessMask": .string(rights.names),
                "Principal": [
                    "@odata.id": .string("\(serviceRoot)/\(set)(\(principal.id.text))"), "ownerid": .string(principal.id.text),
                ],
            ]
        }
        return APIAnswer.json(
            .object([
                representation(request).context("Microsoft.Dynamics.CRM.RetrieveSharedPrincipalsAndAccessResponse"),
                .init("PrincipalAccesses", .array(shares)),
            ]))
    }

    /// Functions bound to a record.
    func boundFunction(
        _ name: String,
        _ entity: EntityDefinition,
        _ key: RecordKey,
        _ arguments: String,
        _ request: APIRequest
    ) async throws -> APIAnswer {
        guard case .id(let id) = key else { throw FieldsealError(.badRequest, "\(name) takes a record by its id.") }
        switch (name, entity.logicalName, request.method) {
        case ("RetrievePrincipalAccess", "systemuser", .get), ("RetrievePrincipalAccess", "team", .get):
            let given = try FunctionArguments(arguments, request.query, of: name, ["Target"])
            let (target, record) = try record(given["Target"], "Target")
            let rights = try await session.rights(of: Principal(entity: entity.logicalName, id: id), on: target, record)
            return APIAnswer.json(
                .object([
                    representation(request).context("Microsoft.Dynamics.CRM.RetrievePrincipalAccessResponse"),
                    .init("AccessRights", .string(rights.names)),
                ]))
        case ("AddMembersTeam", "team", .post), ("RemoveMembersTeam", "team", .post):
            guard case .array(let members)? = JSONValue.object(try request.members())["Members"],
                members.count <= APILimits.bulkCount
            else {
                throw FieldsealError(.payloadDoesNotFit, "\(name) takes Members: users by their systemuserid.")
            }
            let users = try members.map { try principal($0, "Members").id }
            try await session.setMembers(users, of: id, areMembers: name == "AddMembersTeam")
            return APIAnswer.noContent()
        case (_, "systemuser", .get) where Self.privilegeFunctions[name] != nil:
            return try await privileges(name, of: id, arguments, request)
        case (_, "systemuser", _) where Self.privilegeFunctions[name] != nil: throw MethodNotAllowed(.get)
        case ("SendEmail", "email", .post): return try await sendEmail(id, request)
        case ("SendEmail", "email", _): throw MethodNotAllowed(.post)
        case ("RetrievePrincipalAccess", _, _), ("AddMembersTeam", _, _), ("RemoveMembersTeam", _, _):
            throw MethodNotAllowed(name == "RetrievePrincipalAccess" ? .get : .post)
        default: throw ODataPath.unknown(name)
        }
    }

    private func record(_ value: JSONValue?, _ name: String) throws(FieldsealError) -> (EntityDefinition, UUID) {
        if let address = value?["@odata.id"]?.string, let (entity, key) = try RecordInput.reference(address), case .id(let id) = key
        {
            return (entity, id)
        }
        if case .object(let members)? = value {
            let type = value?["@odata.type"]?.string.map { String($0.drop { $0 == "#" }).strippingNamespace }
            for member in members {
                guard let text = member.value.string, let id = UUID(text: text) else { continue }
                if let entity = EntityCatalog.all.first(where: {
                    $0.primaryID == member.name && (type == nil || type == $0.logicalName)
                }) {
                    return (entity, id)
                }
            }
        }
        throw FieldsealError(.payloadDoesNotFit, "\(name) is a record: {\"@odata.id\": \"mailboxes(ID)\"}.")
    }

    private func principal(_ value: JSONValue?, _ name: String) throws(FieldsealError) -> Principal {
        let (entity, id) = try record(value, name)
        // User settings have their user's id.
        let isUser = entity.logicalName == "usersettings"
        guard isUser || ["systemuser", "team"].contains(entity.logicalName) else {
            throw FieldsealError(.payloadDoesNotFit, "\(name) is a systemuser or a team.")
        }
        return Principal(entity: isUser ? "systemuser" : entity.logicalName, id: id)
    }
}
