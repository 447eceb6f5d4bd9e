import Authentication
import Foundation
import HTTPTypes
import JSON
import Model
import Records

// Messages that share records and change the members of teams.
extension DataAPI {
    /// Responds to `GrantAccess`, `ModifyAccess` and `RevokeAccess`.
    func share(_ name: String, _ request: APIRequest) async throws -> APIResponse {
        guard request.method == .post else { throw MethodNotAllowed(.post) }
        return try await answer(try await sharing(name, request))
    }

    private func sharing(_ name: String, _ request: APIRequest) async throws -> Change {
        let body = JSONValue.object(try request.members())
        let known: Set<String> = name == "RevokeAccess" ? ["Target", "Revokee"] : ["Target", "PrincipalAccess"]
        try Self.require(known, in: body, of: name)
        let (entity, id) = try await record(body["Target"], "Target")
        func change(_ message: RecordMessage) -> Change {
            Change([.message(entity, id, message)], address: serviceRoot + request.path)
        }
        if name == "RevokeAccess" { return change(.unshare(try await principal(body["Revokee"], "Revokee"))) }
        guard let access = body["PrincipalAccess"], let mask = access["AccessMask"]?.string else {
            throw FieldsealError(.payloadDoesNotFit, "\(name) takes a PrincipalAccess with a Principal and an AccessMask.")
        }
        try Self.require(["Principal", "AccessMask"], in: access, of: "PrincipalAccess")
        return change(
            .share(
                try await principal(access["Principal"], "Principal"), try AccessRights(names: mask),
                replacing: name == "ModifyAccess"))
    }

    /// The writes of a message that changes rights to records, or sends an e-mail; nil for another message.
    func messageChange(_ name: String, _ path: ODataPath, _ request: APIRequest) async throws -> Change? {
        try request.requireNoOptions()
        switch path {
        case .operation where ["GrantAccess", "ModifyAccess", "RevokeAccess"].contains(name):
            return try await sharing(name, request)
        case .boundFunction(let entity, .id(let id), _, _):
            switch (name, entity.logicalName) {
            case ("AddMembersTeam", "team"), ("RemoveMembersTeam", "team"): return try await membership(name, id, request)
            case ("SendEmail", "email"): return try sending(id, request)
            default: return nil
            }
        default: return nil
        }
    }

    private func membership(_ name: String, _ team: UUID, _ request: APIRequest) async throws -> Change {
        let body = JSONValue.object(try request.members())
        try Self.require(["Members"], in: body, of: name)
        guard case .array(let members)? = body["Members"], (1...APILimits.bulkCount).contains(members.count) else {
            throw FieldsealError(
                .payloadDoesNotFit,
                "\(name) takes Members: 1 to \(APILimits.bulkCount) users, each by its systemuserid or as @odata.id.")
        }
        var users: [UUID] = []
        for member in members { users.append(try await principal(member, "Members").id) }
        return Change(
            [.message(.team, team, .setMembers(users, areMembers: name == "AddMembersTeam"))], address: serviceRoot + request.path)
    }

    /// Refuses parameters that a message does not have.
    static func require(_ known: Set<String>, in body: JSONValue, of message: String) throws(FieldsealError) {
        guard case .object(let members) = body else { return }
        for member in members where !known.contains(member.name) && !member.name.contains("@") {
            throw FieldsealError(.payloadDoesNotFit, "\(message) has no parameter '\(member.name.prefix(100))'.")
        }
    }

    /// Responds to `RetrieveSharedPrincipalsAndAccess(Target=@t)?@t={'@odata.id':'mailboxes(ID)'}`.
    func sharedPrincipals(_ arguments: String, _ request: APIRequest) async throws -> APIResponse {
        guard request.method == .get else { throw MethodNotAllowed(.get) }
        let given = try FunctionArguments(arguments, request.query, of: "RetrieveSharedPrincipalsAndAccess", ["Target"])
        let (entity, id) = try await record(given["Target"], "Target")
        let shares = try await session.shares(of: entity, id).map { principal, rights -> JSONValue in
            let set = EntityCatalog.entity(principal.entity)?.entitySetName ?? ""
            return [
                "AccessMask": .string(rights.names),
                "Principal": [
                    "@odata.type": .string("#\(ODataPath.namespace)\(principal.entity)"),
                    "@odata.id": .string("\(serviceRoot)/\(set)(\(principal.id.text))"), "ownerid": .string(principal.id.text),
                ],
            ]
        }
        return APIResponse.json(
            .object([
                representation(request).context("Microsoft.Dynamics.CRM.RetrieveSharedPrincipalsAndAccessResponse"),
                .init("PrincipalAccesses", .array(shares)),
            ]))
    }

    /// Responds to a function that is bound to a record.
    func boundFunction(
        _ name: String,
        _ entity: EntityDefinition,
        _ key: RecordKey,
        _ arguments: String,
        _ request: APIRequest
    ) async throws -> APIResponse {
        guard case .id(let id) = key else { throw FieldsealError(.badRequest, "\(name) takes a record by its id.") }
        switch (name, entity.logicalName, request.method) {
        case ("RetrievePrincipalAccess", "systemuser", .get), ("RetrievePrincipalAccess", "team", .get):
            let given = try FunctionArguments(arguments, request.query, of: name, ["Target"])
            let (target, record) = try await record(given["Target"], "Target")
            let rights = try await session.rights(of: Principal(entity: entity.logicalName, id: id), on: target, record)
            return APIResponse.json(
                .object([
                    representation(request).context("Microsoft.Dynamics.CRM.RetrievePrincipalAccessResponse"),
                    .init("AccessRights", .string(rights.names)),
                ]))
        case ("AddMembersTeam", "team", .post), ("RemoveMembersTeam", "team", .post):
            return try await answer(try await membership(name, id, request))
        case (_, "systemuser", .get) where Self.privilegeFunctions[name] != nil:
            return try await privileges(name, of: id, arguments, request)
        case (_, "systemuser", _) where Self.privilegeFunctions[name] != nil: throw MethodNotAllowed(.get)
        case ("SendEmail", "email", .post): return try await answer(try sending(id, request))
        case ("SendEmail", "email", _): throw MethodNotAllowed(.post)
        case ("RetrievePrincipalAccess", "systemuser", _), ("RetrievePrincipalAccess", "team", _): throw MethodNotAllowed(.get)
        case ("AddMembersTeam", "team", _), ("RemoveMembersTeam", "team", _): throw MethodNotAllowed(.post)
        default: throw ODataPath.unknown(name)
        }
    }

    /// The record that a parameter names.
    ///
    /// - Parameter example: The address of a record that the parameter may name, for the error text.
    private func record(_ value: JSONValue?, _ name: String, such example: String = "mailboxes(ID)") async throws
        -> (EntityDefinition, UUID)
    {
        var found: [(entity: EntityDefinition, id: UUID)] = []
        if let address = value?["@odata.id"]?.string, let (entity, key) = try ParsedValues.reference(addresses.relative(address)) {
            found.append((entity, try await linkedID(of: entity, key)))
        }
        let type = value?["@odata.type"]?.string.map { String($0.drop { $0 == "#" }).strippingNamespace }
        if case .object(let members)? = value {
            for member in members where !member.name.contains("@") {
                guard let entity = Self.entity(withID: member.name, type: type, found.first?.entity),
                    let id = member.value.string.flatMap({ UUID(text: $0) })
                else {
                    throw FieldsealError(
                        .payloadDoesNotFit, "\(name) has a member '\(member.name.prefix(100))' that is not the id of its record.")
                }
                found.append((entity, id))
            }
        }
        guard let first = found.first else {
            throw FieldsealError(.payloadDoesNotFit, "\(name) must be a record: {\"@odata.id\": \"\(example)\"}.")
        }
        guard type == nil || type == first.entity.logicalName else {
            throw FieldsealError(
                .payloadDoesNotFit, "@odata.type of \(name) differs from the type of its record, \(first.entity.logicalName).")
        }
        guard found.allSatisfy({ $0.entity.primaryID == first.entity.primaryID && $0.id == first.id }) else {
            throw FieldsealError(.payloadDoesNotFit, "\(name) names more than one record. Name one.")
        }
        return first
    }

    /// The entity whose key attribute has this name. Users and teams both have the key `ownerid`, so the type or the address
    /// decides between them.
    private static func entity(withID member: String, type: String?, _ addressed: EntityDefinition?) -> EntityDefinition? {
        guard member == "ownerid" else {
            return EntityCatalog.all.first { $0.primaryID == member && (type == nil || type == $0.logicalName) }
        }
        let entity = type.flatMap { EntityCatalog.entity($0) } ?? addressed
        return entity.flatMap { $0.isPrincipal ? $0 : nil }
    }

    func principal(_ value: JSONValue?, _ name: String) async throws -> Principal {
        let (entity, id) = try await record(value, name, such: "systemusers(ID)")
        // The record of a user's settings has the id of that user.
        let isUser = entity.logicalName == "usersettings"
        guard isUser || ["systemuser", "team"].contains(entity.logicalName) else {
            throw FieldsealError(.payloadDoesNotFit, "\(name) must be a systemuser or a team.")
        }
        return Principal(entity: isUser ? "systemuser" : entity.logicalName, id: id)
    }
}
