import Authentication
import Foundation
import HTTPTypes
import JSON
import Model
import Tenancy

// Who may sign in: people and clients, each with a page of its own.
extension Console {
    static let accessActions = [
        "add-user", "disable-user", "enable-user", "reset-user", "invite-user", "role-user", "end-user-sessions", "add-client",
        "disable-client", "enable-client", "role-client", "rotate-client",
    ]
    private static let peopleRoles: [Role] = [.basicUser, .emailAdministrator, .systemAdministrator]
    private static let clientRoles: [Role] = [.basicUser, .emailRouter, .emailAdministrator, .systemAdministrator]

    @Sendable func access(_ visit: Visit) async throws -> Reply {
        let session = try visit.session()
        let people = try await ConsoleUsers(deployment).list(by: session)
        let clients = try await session.clients()
        let last = try await session.lastSignIns()
        let q = visit.filter("q")
        func isWanted(_ name: String) -> Bool { q.map { name.localizedCaseInsensitiveContains($0) } ?? true }
        let values: [String: Any] = [
            "title": visit.text("access"), "lead": visit.text("accessLead"), "q": q ?? "", "isFiltered": q != nil,
            "people": people.filter { isWanted($0.name) }.map { entry -> [String: Any] in
                [
                    "name": entry.name, "href": "\(visit.root)/access/people/\(entry.id.text)",
                    "isYou": entry.name == visit.signed?.name,
                    "role": visit.text("role:\(entry.role)"), "status": badge(entry.isHonoured, entry.disabledOn, visit),
                    "factor": visit.text(entry.hasSecondFactor ? "on" : "off"), "factorStyle": entry.hasSecondFactor ? "good" : "",
                    "last": lastUse(last["user:\(entry.name)"], visit),
                ]
            },
            "clients": clients.filter { isWanted($0.name) }.map { entry -> [String: Any] in
                [
                    "name": entry.name, "href": "\(visit.root)/access/clients/\(entry.id.text)", "id": entry.id.text,
                    "role": visit.text("role:\(entry.role)"), "status": badge(entry.isHonoured, entry.disabledOn, visit),
                    "last": lastUse(last["client:\(entry.name)"], visit),
                ]
            },
        ]
        return .page("access", values)
    }

    private func badge(_ isHonoured: Bool, _ disabledOn: Date?, _ visit: Visit) -> [String: Any] {
        [
            "style": !isHonoured ? "bad" : disabledOn == nil ? "good" : "",
            "text": visit.text(!isHonoured ? "notHonoured" : disabledOn == nil ? "enabled" : "disabled"),
        ]
    }

    private func lastUse(_ date: Date?, _ visit: Visit) -> Any { orFalse(date.map { visit.texts.timeAgo($0) }) }

    private func roles(_ roles: [Role], chosen: Role, _ visit: Visit) -> [[String: Any]] {
        roles.map { role -> [String: Any] in
            [
                "value": role.rawValue, "text": visit.text("role:\(role.rawValue)"), "why": visit.text("roleWhy:\(role.rawValue)"),
                "checked": role == chosen,
            ]
        }
    }

    // MARK: One person

    @Sendable func person(_ visit: Visit) async throws -> Reply { try await personPage(visit, visit.parameter("id") ?? "") }

    private func entry(_ id: String, _ visit: Visit) async throws -> ConsoleUsers.Entry {
        let people = try await ConsoleUsers(deployment).list(by: try visit.session())
        guard let id = UUID(text: id), let entry = people.first(where: { $0.id == id }) else {
            throw FieldsealError(.objectDoesNotExist, "There is no such person here.")
        }
        return entry
    }

    private func personPage(
        _ visit: Visit, _ id: String, problem: String? = nil, link: String? = nil, status: HTTPResponse.Status = .ok
    )
        async throws -> Reply
    {
        let session = try visit.session()
        let entry = try await entry(id, visit)
        let role = Role(rawValue: entry.role) ?? .basicUser
        var filter = EventFilter()
        filter.actor = "user:\(entry.name)"
        let events = try await session.securityEvents(filter, limit: 10)
        var values: [String: Any] = [
            "title": entry.name, "id": entry.id.text, "name": entry.name, "isYou": entry.name == visit.signed?.name,
            "isEnabled": entry.disabledOn == nil, "status": badge(entry.isHonoured, entry.disabledOn, visit),
            "roleText": visit.text("role:\(entry.role)"), "roles": roles(Self.peopleRoles, chosen: role, visit),
            "factor": visit.text(entry.hasSecondFactor ? "on" : "off"), "sessions": visit.texts.number(entry.sessions),
            "hasSessions": entry.sessions > 0, "createdOn": visit.texts.time(entry.createdOn),
            "disabledOn": orFalse(entry.disabledOn.map { visit.texts.time($0) }),
            "last": lastUse(try await session.lastSignIns()["user:\(entry.name)"], visit), "link": orFalse(link),
            "lines": try await EventLines(visit, session).lines(events), "hasLines": !events.isEmpty,
            "all":
                "\(visit.root)/events?actor=user%3A\(entry.name.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "")",
        ]
        values["problem"] = problem
        values["notice"] = visit.query("done").flatMap {
            visit.texts.optional("done:\($0)") == nil ? nil : visit.text("done:\($0)", ["name": entry.name])
        }
        return .page("person", values, status: status)
    }

    func newPersonValues(_ visit: Visit, problem: String? = nil) throws -> [String: Any] {
        try visit.session().requireSystemAdministrator()
        let role = visit.form["role"].flatMap(Role.init(rawValue:)) ?? .basicUser
        var values: [String: Any] = [
            "title": visit.text("addPerson"), "lead": visit.text("addPersonLead"), "name": visit.form["name"] ?? "",
            "roles": roles(Self.peopleRoles, chosen: role, visit), "days": "\(ConsoleUsers.invitationDays)",
            "isInvited": visit.form["how"] != "password",
            "inviteWhy": visit.text("inviteWhy", ["days": "\(ConsoleUsers.invitationDays)"]),
        ]
        values["problem"] = problem
        return values
    }

    // MARK: One client

    @Sendable func client(_ visit: Visit) async throws -> Reply { try await clientPage(visit, visit.parameter("id") ?? "") }

    private func clientPage(
        _ visit: Visit, _ id: String, problem: String? = nil, secret: String? = nil, status: HTTPResponse.Status = .ok
    ) async throws -> Reply {
        let session = try visit.session()
        guard let entry = try await session.clients().first(where: { $0.id.text == id }) else {
            throw FieldsealError(.objectDoesNotExist, "There is no such client here.")
        }
        let role = Role(rawValue: entry.role) ?? .basicUser
        var values: [String: Any] = [
            "title": entry.name, "id": entry.id.text, "name": entry.name, "isEnabled": entry.disabledOn == nil,
            "status": badge(entry.isHonoured, entry.disabledOn, visit), "roleText": visit.text("role:\(entry.role)"),
            "roles": roles(Self.clientRoles, chosen: role, visit), "createdOn": visit.texts.time(entry.createdOn),
            "disabledOn": orFalse(entry.disabledOn.map { visit.texts.time($0) }),
            "last": lastUse(try await session.lastSignIns()["client:\(entry.name)"], visit), "secret": orFalse(secret),
            "tokenAddress": "\(baseURL)\(visit.root)/oauth2/v2.0/token",
            "all":
                "\(visit.root)/events?actor=client%3A\(entry.name.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "")",
        ]
        values["problem"] = problem
        values["notice"] = visit.query("done").flatMap {
            visit.texts.optional("done:\($0)") == nil ? nil : visit.text("done:\($0)", ["name": entry.name])
        }
        return .page("client", values, status: status)
    }

    func newClientValues(_ visit: Visit, problem: String? = nil) throws -> [String: Any] {
        try visit.session().requireSystemAdministrator()
        let role = visit.form["role"].flatMap(Role.init(rawValue:)) ?? .basicUser
        var values: [String: Any] = [
            "title": visit.text("addClient"), "lead": visit.text("addClientLead"), "name": visit.form["name"] ?? "",
            "roles": roles(Self.clientRoles, chosen: role, visit),
        ]
        values["problem"] = problem
        return values
    }

    // MARK: Changes

    @Sendable func confirmDisabling(_ visit: Visit, isPerson: Bool) async throws -> Reply {
        let id = visit.parameter("id") ?? ""
        let session = try visit.session()
        let found = isPerson ? try await entry(id, visit).name : try await session.clients().first { $0.id.text == id }?.name
        guard let name = found else { throw FieldsealError(.objectDoesNotExist, "There is no such client here.") }
        let isYou = isPerson && name == visit.signed?.name
        return .page(
            "confirm",
            [
                "title": visit.text("disableTitle", ["name": name]),
                "text": visit.text(
                    isPerson ? (isYou ? "disableYourself" : "disablePersonWhy") : "disableClientWhy", ["name": name]),
                "action": "\(visit.root)/access/\(isPerson ? "disable-user" : "disable-client")",
                "fields": [["name": "id", "value": id]], "button": visit.text("disableNow", ["name": name]),
                "back": "\(visit.root)/access/\(isPerson ? "people" : "clients")/\(id)",
            ])
    }

    func changeAccess(_ action: String, _ visit: Visit) async throws -> Reply {
        try visit.session().requireSystemAdministrator()
        if let reply = try await requireFresh(visit, for: "access/\(action)") { return reply }
        let isClient = action.hasSuffix("client")
        let isNew = action.hasPrefix("add-")
        do {
            return try await isClient ? changeClient(action, visit) : changePerson(action, visit)
        } catch let error as FieldsealError where error.code != .privilegeDenied && error.code != .noResource {
            let wasTyped = visit.form["password"]?.isEmpty == false
            let problem = visit.texts.told(error.message) + (wasTyped ? " \(visit.text("typePasswordAgain"))" : "")
            let status = HTTPResponse.Status(code: error.code.httpStatus)
            switch (isNew, isClient) {
            case (true, true): return .page("client-new", try newClientValues(visit, problem: problem), status: status)
            case (true, false): return .page("person-new", try newPersonValues(visit, problem: problem), status: status)
            case (false, true): return try await clientPage(visit, visit.form["id"] ?? "", problem: problem, status: status)
            case (false, false): return try await personPage(visit, visit.form["id"] ?? "", problem: problem, status: status)
            }
        }
    }

    private func changePerson(_ action: String, _ visit: Visit) async throws -> Reply {
        let session = try visit.session()
        let users = ConsoleUsers(deployment)
        guard action != "add-user" else { return try await addPerson(visit, session, users) }
        let entry = try await entry(visit.form["id"] ?? "", visit)
        func invitation(_ id: UUID) async throws -> String {
            "\(baseURL)\(visit.root)/invitation?token=\(try await users.invite(id, by: session))"
        }
        switch action {
        case "invite-user": return try await personPage(visit, entry.id.text, link: try await invitation(entry.id))
        case "disable-user": try await users.disable(entry.name, by: session)
        case "enable-user": try await users.enable(entry.id, by: session)
        case "reset-user": try await users.reset(entry.name, password: visit.form["password"] ?? "", by: session)
        case "role-user":
            guard let role = visit.form["role"].flatMap(Role.init(rawValue:)) else { throw FieldsealError.noRole }
            try await users.setRole(role, of: entry.id, by: session)
        case "end-user-sessions": try await users.endSessions(of: entry.id, by: session)
        default: throw FieldsealError.noPage
        }
        return .redirect("\(visit.root)/access/people/\(entry.id.text)?done=\(action)")
    }

    private func addPerson(_ visit: Visit, _ session: Session, _ users: ConsoleUsers) async throws -> Reply {
        guard let role = visit.form["role"].flatMap(Role.init(rawValue:)) else { throw FieldsealError.noRole }
        let isInvited = visit.form["how"] == "invite"
        let id = try await users.add(
            name: visit.form["name"] ?? "", password: isInvited ? nil : visit.form["password"] ?? "", role: role, by: session)
        guard isInvited else { return .redirect("\(visit.root)/access/people/\(id.text)?done=add-user") }
        let token = try await users.invite(id, by: session)
        return try await personPage(visit, id.text, link: "\(baseURL)\(visit.root)/invitation?token=\(token)")
    }

    private func changeClient(_ action: String, _ visit: Visit) async throws -> Reply {
        let session = try visit.session()
        let role = visit.form["role"].flatMap(Role.init(rawValue:))
        if action == "add-client" {
            guard let role else { throw FieldsealError.noRole }
            let (id, secret) = try await session.addClient(name: visit.form["name"] ?? "", role: role)
            return try await clientPage(visit, id.text, secret: secret)
        }
        guard let id = UUID(text: visit.form["id"] ?? "") else {
            throw FieldsealError(.objectDoesNotExist, "There is no such client here.")
        }
        switch action {
        case "disable-client": try await session.disableClient(id.text)
        case "enable-client": try await session.enableClient(id)
        case "role-client":
            guard let role else { throw FieldsealError.noRole }
            try await session.setRole(role, ofClient: id)
        case "rotate-client": return try await clientPage(visit, id.text, secret: try await session.rotateSecret(ofClient: id))
        default: throw FieldsealError.noPage
        }
        return .redirect("\(visit.root)/access/clients/\(id.text)?done=\(action)")
    }
}

extension FieldsealError {
    fileprivate static let noRole = FieldsealError(.invalidArgument, "Choose a role.")
}
