import Authentication
import Foundation
import HTTPTypes
import JSON
import Model
import PostgresClient
import Tenancy

// The people and clients that may sign in, each with its own page.
extension Console {
    static let accessActions = [
        "add-user", "disable-user", "enable-user", "remove-user", "reset-user", "invite-user", "withdraw-invitation",
        "role-user", "hand-over-user", "mailbox-user",
        "end-user-sessions",
        "end-user-session", "add-client", "disable-client", "enable-client", "remove-client", "role-client", "rotate-client",
        "end-secret-client",
    ]
    static let peopleRoles: [Role] = [.basicUser, .emailAdministrator, .systemAdministrator]
    private static let clientRoles: [Role] = [.basicUser, .emailRouter, .emailAdministrator, .systemAdministrator]

    @Sendable func access(_ visit: Visit) async throws -> PageResponse {
        let session = try visit.session()
        let people = try await PeopleAdministration(session).list()
        let clients = try await ClientAdministration(session).list()
        let signIns = try await PeopleSignIns(session)
        let last = signIns.last
        let q = visit.filter("q")
        func isWanted(_ name: String) -> Bool { q.map { name.localizedCaseInsensitiveContains($0) } ?? true }
        var values: [String: Any] = [
            "title": visit.text("access"), "lead": visit.text("accessLead"), "q": q ?? "", "isFiltered": q != nil,
            "people": people.filter { isWanted($0.name) }.map { entry -> [String: Any] in
                [
                    "name": entry.name, "href": "\(visit.root)/access/people/\(entry.id.text)",
                    "isYou": entry.name == visit.signed?.name,
                    "role": visit.text("role:\(entry.role)"), "status": badge(entry, signIns, visit),
                    "invitedUntil": orFalse(signIns.waiting(entry).map { visit.texts.time($0) }),
                    "factor": visit.text(entry.hasSecondFactor ? "on" : "off"), "factorStyle": entry.hasSecondFactor ? "good" : "",
                    "last": lastUse(signIns.last(entry), visit),
                    "noLast": visit.text(signIns.none(addedOn: entry.createdOn, sessions: entry.sessions)),
                ]
            },
            "clients": clients.filter { isWanted($0.name) }.map { entry -> [String: Any] in
                [
                    "name": entry.name, "href": "\(visit.root)/access/clients/\(entry.id.text)", "id": entry.id.text,
                    "role": visit.text("role:\(entry.role)"), "status": badge(entry.isAuthentic, entry.disabledOn, visit),
                    "last": lastUse(last["client:\(entry.name)"], visit),
                    "noLast": visit.text(signIns.none(addedOn: entry.createdOn)),
                ]
            },
        ]
        let shown = ["people", "clients"].map { ((values[$0] as? [Any]) ?? []).isEmpty }
        values["noPeople"] = shown[0]
        values["noClients"] = shown[1]
        values["isNobody"] = q != nil && shown[0]
        if let done = visit.query("done"), ["remove-user", "remove-client"].contains(done) {
            values["notice"] = visit.text("done:\(done)")
        }
        return .page("access", values)
    }

    private func badge(_ isAuthentic: Bool, _ disabledOn: Date?, _ visit: Visit) -> [String: Any] {
        [
            "style": !isAuthentic ? "bad long" : disabledOn == nil ? "good" : "",
            "text": visit.text(!isAuthentic ? "notHonoured" : disabledOn == nil ? "enabled" : "disabled"),
        ]
    }

    private func badge(_ entry: PeopleAdministration.Entry, _ signIns: PeopleSignIns, _ visit: Visit) -> [String: Any] {
        guard let unused = signIns.unused(entry) else { return badge(entry.isAuthentic, entry.disabledOn, visit) }
        return ["style": unused.style, "text": visit.text(unused.key)]
    }

    private func lastUse(_ date: Date?, _ visit: Visit) -> Any { orFalse(date.map { visit.texts.timeAgo($0) }) }

    func roles(_ roles: [Role], chosen: Role, _ visit: Visit) -> [[String: Any]] {
        roles.map { role -> [String: Any] in
            [
                "value": role.rawValue, "text": visit.text("role:\(role.rawValue)"), "why": visit.text("roleWhy:\(role.rawValue)"),
                "checked": role == chosen,
            ]
        }
    }

    private func doneNotice(_ name: String, _ role: String, _ visit: Visit) -> String? {
        if visit.query("done") == "nothingChanged" { return visit.text("nothingChanged") }
        guard let done = visit.query("done"), visit.texts.optional("done:\(done)") != nil || done == "hand-over-user" else {
            return nil
        }
        if done.hasPrefix("role-"), let notice = roleNotice(name, role, visit) { return notice }
        func number(_ name: String) -> Int { visit.query(name).flatMap { Int($0) } ?? 0 }
        if done == "hand-over-user" {
            let failed = number("failed")
            return visit.texts.count("handedOver", number("n"))
                + (failed > 0 ? " \(visit.texts.count("notHandedOver", failed))" : "")
        }
        return visit.text("done:\(done)", ["name": name])
    }

    // MARK: One person

    @Sendable func person(_ visit: Visit) async throws -> PageResponse { try await personPage(visit, visit.parameter("id") ?? "") }

    func entry(_ id: String, _ visit: Visit) async throws -> PeopleAdministration.Entry {
        let people = try await PeopleAdministration(visit.session()).list()
        guard let id = UUID(text: id), let entry = people.first(where: { $0.id == id }) else {
            throw FieldsealError(.objectDoesNotExist, "There is no such person here.")
        }
        return entry
    }

    private func personPage(
        _ visit: Visit, _ id: String, problem: String? = nil, status: HTTPResponse.Status = .ok
    )
        async throws -> PageResponse
    {
        let session = try visit.session()
        let entry = try await entry(id, visit)
        let role = Role(rawValue: entry.role) ?? .basicUser
        let signIns = try await PeopleSignIns(session)
        let events = try await eventsOf(entry, session)
        var values: [String: Any] = [
            "title": entry.name, "id": entry.id.text, "name": entry.name, "isYou": entry.name == visit.signed?.name,
            "isEnabled": entry.disabledOn == nil, "status": badge(entry, signIns, visit),
            "roleText": visit.text("role:\(entry.role)"), "roles": roles(Self.peopleRoles, chosen: role, visit),
            "factor": visit.text(entry.hasSecondFactor ? "on" : "off"), "sessions": visit.texts.number(entry.sessions),
            "hasSessions": entry.sessions > 0, "createdOn": visit.texts.time(entry.createdOn),
            "disabledOn": orFalse(entry.disabledOn.map { visit.texts.time($0) }),
            "last": lastUse(signIns.last(entry), visit),
            "noLast": visit.text(signIns.none(addedOn: entry.createdOn, sessions: entry.sessions)),
            "link": orFalse(try await shownLink(entry, visit)),
            "settings": Navigation.mayList(.userSettings, visit.roles)
                ? "\(visit.root)/records/usersettingscollection/\(entry.systemUserID.text)" : false as Any,
            "lines": try await EventLines(visit, session).lines(events), "hasLines": !events.isEmpty,
            "all": "\(visit.root)/events?actor=user%3A\(Self.encoded(entry.name))",
            "about": "\(visit.root)/events?kind=people&record=\(Self.encoded(entry.name))",
        ]
        values.merge(try await personSessions(entry, visit)) { own, _ in own }
        values.merge(try await belongings(entry, visit)) { own, _ in own }
        let isEnabled: Bool = entry.disabledOn == nil
        values.merge(try await mailboxValues(ofUser: entry.systemUserID, isEnabled: isEnabled, visit)) { own, _ in own }
        values["heirs"] = try await heirs(besides: Holder(entry), visit)
        values["problem"] = problem
        values["notice"] = doneNotice(entry.name, entry.role, visit)
        return .page("person", values, status: status)
    }

    private static func encoded(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
    }

    /// The link that the page shows once, while the link can still be used.
    private func shownLink(_ entry: PeopleAdministration.Entry, _ visit: Visit) async throws -> String? {
        guard let token = try shownSecret(of: entry.id, visit), let organization = visit.organizationRecord,
            try await ConsoleUsers(deployment).invited(token, to: organization) == entry.name
        else { return nil }
        return "\(baseURL)\(visit.root)/invitation?token=\(token)"
    }

    /// The newest events that a person caused, or that are about their access.
    private func eventsOf(_ entry: PeopleAdministration.Entry, _ session: Session) async throws -> [RecordedEvent] {
        var (own, named, linked) = (EventFilter(), EventFilter(), EventFilter())
        own.actor = "user:\(entry.name)"
        let kinds: [SecurityEvent.Kind] = [.userAdded, .userDisabled, .userChanged, .userReset, .identityLinked]
        named.kinds = kinds.map(\.rawValue)
        named.details = entry.name
        linked.kinds = EventGroup.people.kinds.filter { !kinds.contains($0) }.map(\.rawValue)
        linked.details = entry.systemUserID.text
        // Events before this person was added may be about a removed person with the same name.
        named.from = entry.createdOn.addingTimeInterval(-1)
        let reading = try EventReading(session)
        let about = try await reading.events(named, limit: Self.searchedForPerson).filter { event in
            let details = event.details ?? ""
            return details == entry.name || [", ", ": "].contains { details.hasPrefix(entry.name + $0) }
        }
        let all =
            about + (try await reading.events(own, limit: Self.eventsOfPerson))
            + (try await reading.events(linked, limit: Self.eventsOfPerson))
        var seen: Set<Int> = []
        return Array(all.sorted { $0.id > $1.id }.filter { seen.insert($0.id).inserted }.prefix(Self.eventsOfPerson))
    }

    /// How many events the page of a person shows.
    private static let eventsOfPerson = 10
    /// How many events that mention a person's name are read to find those that the page shows.
    private static let searchedForPerson = 100

    /// The values about a person's sessions, and about the invitation that the person has not used yet. The page can end each
    /// session, and withdraw the invitation.
    private func personSessions(_ entry: PeopleAdministration.Entry, _ visit: Visit) async throws -> [String: Any] {
        let sessions = try await PeopleAdministration(visit.session()).sessions(of: entry.id)
        return [
            "mustChangePassword": entry.mustChangePassword,
            "invitation": orFalse(
                entry.invitation.map { invitation -> [String: Any] in
                    [
                        "maker": ActorName.shown(invitation.maker, visit.texts),
                        "ends": visit.texts.time(invitation.end.date),
                    ]
                }),
            "sessionRows": sessions.map { session -> [String: Any] in
                [
                    "sessionID": session.id, "address": session.address.map(EventLines.address) ?? "",
                    "createdOn": visit.texts.time(session.createdOn), "usedOn": visit.texts.timeAgo(session.usedOn),
                ]
            },
        ]
    }

    /// The part of a page's address that names the role before the change, for the notice.
    private static func was(_ role: String) -> String {
        "&was=\(role.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "")"
    }

    // MARK: One client

    @Sendable func client(_ visit: Visit) async throws -> PageResponse { try await clientPage(visit, visit.parameter("id") ?? "") }

    private func clientPage(
        _ visit: Visit, _ id: String, problem: String? = nil, status: HTTPResponse.Status = .ok
    ) async throws -> PageResponse {
        let session = try visit.session()
        guard let entry = try await ClientAdministration(session).list().first(where: { $0.id.text == id }) else {
            throw FieldsealError(.objectDoesNotExist, "There is no such client here.")
        }
        let role = Role(rawValue: entry.role) ?? .basicUser
        let signIns = try await PeopleSignIns(session)
        var values: [String: Any] = [
            "title": entry.name, "id": entry.id.text, "name": entry.name, "isEnabled": entry.disabledOn == nil,
            "status": badge(entry.isAuthentic, entry.disabledOn, visit), "roleText": visit.text("role:\(entry.role)"),
            "roles": roles(Self.clientRoles, chosen: role, visit), "createdOn": visit.texts.time(entry.createdOn),
            "disabledOn": orFalse(entry.disabledOn.map { visit.texts.time($0) }),
            "last": lastUse(signIns.last["client:\(entry.name)"], visit),
            "noLast": visit.text(signIns.none(addedOn: entry.createdOn)),
            "secret": orFalse(try shownSecret(of: entry.id, visit)),
            "tokenAddress": "\(baseURL)\(visit.root)/oauth2/v2.0/token",
            "all":
                "\(visit.root)/events?actor=client%3A\(entry.name.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "")",
        ]
        values.merge(secretValues(entry, visit)) { own, _ in own }
        values["problem"] = problem
        values["notice"] = doneNotice(entry.name, entry.role, visit)
        return .page("client", values, status: status)
    }

    func newClientValues(_ visit: Visit, problem: String? = nil) throws -> [String: Any] {
        _ = try ClientAdministration(visit.session())
        let role = visit.form["role"].flatMap(Role.init(rawValue:)) ?? .basicUser
        var values: [String: Any] = [
            "title": visit.text("addClient"), "lead": visit.text("addClientLead"), "name": visit.form["name"] ?? "",
            "roles": roles(Self.clientRoles, chosen: role, visit), "expiries": expiryOptions(visit),
        ]
        values["problem"] = problem
        return values
    }

    // MARK: Changes

    func changeAccess(_ action: String, _ visit: Visit) async throws -> PageResponse {
        let isClient = action.hasSuffix("client")
        if isClient { _ = try ClientAdministration(visit.session()) } else { _ = try PeopleAdministration(visit.session()) }
        if let reply = try await requireReauthentication(visit, for: "access/\(action)") { return reply }
        let isNew = action.hasPrefix("add-")
        do {
            return try await isClient ? changeClient(action, visit) : changePerson(action, visit)
        } catch let error as FieldsealError where error.code != .privilegeDenied && error.code != .noResource {
            let wasTyped = visit.form["password"]?.isEmpty == false
            let problem = visit.texts.told(error.message) + (wasTyped ? " \(visit.text("typePasswordAgain"))" : "")
            let isOfPassword = error.attribute == "password"
            let status = HTTPResponse.Status(code: error.code.httpStatus)
            switch (isNew, isClient) {
            case (true, true): return .page("client-new", try newClientValues(visit, problem: problem), status: status)
            case (true, false):
                var values = try await newPersonValues(visit, problem: isOfPassword ? nil : problem)
                values["passwordError"] = orFalse(isOfPassword ? problem : nil)
                return .page("person-new", values, status: status)
            case (false, true): return try await clientPage(visit, visit.form["id"] ?? "", problem: problem, status: status)
            case (false, false) where action == "reset-user":
                return try await resetPage(visit, visit.form["id"] ?? "", problem: problem, status: status)
            case (false, false): return try await personPage(visit, visit.form["id"] ?? "", problem: problem, status: status)
            }
        }
    }

    private func changePerson(_ action: String, _ visit: Visit) async throws -> PageResponse {
        let people = try PeopleAdministration(visit.session())
        guard action != "add-user" else { return try await addPerson(visit, people) }
        let entry = try await entry(visit.form["id"] ?? "", visit)
        if let question = try await personQuestion(action, entry, visit) { return question }
        switch action {
        case "invite-user":
            let token = try await people.invite(entry.id)
            return try showing(token, of: entry.id, on: "access/people/\(entry.id.text)?done=\(action)", visit)
        case "withdraw-invitation": try await people.withdrawInvitation(of: entry.id)
        case "disable-user": try await people.disable(entry.id.text)
        case "enable-user": try await people.enable(entry.id)
        case "hand-over-user":
            let (moved, failed) = try await handOver(from: Holder(entry), visit)
            return .redirect("\(visit.root)/access/people/\(entry.id.text)?done=\(action)&n=\(moved)&failed=\(failed)")
        case "reset-user": try await people.reset(entry.name, password: visit.form["password"] ?? "")
        case "role-user":
            guard let role = visit.form["role"].flatMap(Role.init(rawValue:)) else { throw FieldsealError.noRole }
            // The same role is written again if this service did not write the row.
            if entry.role == role.rawValue, entry.isAuthentic {
                return .redirect("\(visit.root)/access/people/\(entry.id.text)?done=nothingChanged")
            }
            let question = try roleQuestion(
                action, entry.id.text, name: entry.name, from: entry.role, to: role, person: entry, visit)
            if let question { return question }
            let ended = try await people.setRole(role, of: entry.id) ? "&ended=password" : ""
            return .redirect("\(visit.root)/access/people/\(entry.id.text)?done=\(action)\(Self.was(entry.role))\(ended)")
        case "mailbox-user": try await makeMailbox(of: entry, visit)
        case "end-user-sessions": try await people.endSessions(of: entry.id)
        case "end-user-session": try await people.endSession(visit.form["session"] ?? "", of: entry.id)
        case "remove-user":
            try await people.remove(entry.id.text)
            return .redirect("\(visit.root)/access?done=remove-user")
        default: throw FieldsealError.noPage
        }
        return .redirect("\(visit.root)/access/people/\(entry.id.text)?done=\(action)")
    }

    private func changeClient(_ action: String, _ visit: Visit) async throws -> PageResponse {
        let clients = try ClientAdministration(visit.session())
        let role = visit.form["role"].flatMap(Role.init(rawValue:))
        if action == "add-client" {
            guard let role else { throw FieldsealError.noRole }
            let (id, secret) = try await clients.add(
                name: visit.form["name"] ?? "", role: role, secretSeconds: try expirySeconds(visit))
            return try showing(secret, of: id, on: "access/clients/\(id.text)?done=\(action)", visit)
        }
        guard let id = UUID(text: visit.form["id"] ?? "") else {
            throw FieldsealError(.objectDoesNotExist, "There is no such client here.")
        }
        if let question = try await secretQuestion(action, id, visit) { return question }
        switch action {
        case "disable-client": try await clients.disable(id.text)
        case "enable-client": try await clients.enable(id)
        case "role-client":
            guard let role else { throw FieldsealError.noRole }
            guard let entry = try await clients.list().first(where: { $0.id == id }) else { throw FieldsealError.noPage }
            if entry.role == role.rawValue, entry.isAuthentic {
                return .redirect("\(visit.root)/access/clients/\(id.text)?done=nothingChanged")
            }
            if let question = try roleQuestion(action, id.text, name: entry.name, from: entry.role, to: role, visit) {
                return question
            }
            try await clients.setRole(role, of: id)
            return .redirect("\(visit.root)/access/clients/\(id.text)?done=\(action)\(Self.was(entry.role))")
        case "rotate-client":
            let secret = try await clients.rotateSecret(
                of: id, overlap: try overlapSeconds(visit), seconds: try expirySeconds(visit))
            return try showing(secret, of: id, on: "access/clients/\(id.text)?done=\(action)", visit)
        case "end-secret-client":
            guard let secret = UUID(text: visit.form["secret"] ?? "") else { throw FieldsealError.noPage }
            try await clients.endSecret(secret, of: id)
        case "remove-client":
            try await clients.remove(id.text)
            return .redirect("\(visit.root)/access?done=remove-client")
        default: throw FieldsealError.noPage
        }
        return .redirect("\(visit.root)/access/clients/\(id.text)?done=\(action)")
    }
}

extension FieldsealError {
    static let noRole = FieldsealError(.invalidArgument, "Choose a role.")
}
