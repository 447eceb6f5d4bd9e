import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// The team that owns a record. The members of the team share the record: they see it and, if it is a queue, may send as the queue.
extension Console {
    /// How many members a page shows.
    private static let shownMembers = 200

    /// The card about the team on a record's page; false for kinds of records that no team owns.
    func owningTeam(_ entity: EntityDefinition, _ record: Record, _ visit: Visit) async throws -> Any {
        guard Self.isOwnedWithPasswords(entity), case .id(let owner) = try record.value(of: "ownerid"),
            Navigation.mayList(.team, visit.roles), Navigation.mayList(.systemUser, visit.roles)
        else { return false }
        var values: [String: Any] = [
            "set": entity.entitySetName, "record": record.id.text, "mayChange": visit.isAdministrator, "team": false,
            "lookup": "\(visit.root)/lookup/systemuser?q=", "mayMake": visit.isAdministrator, "mailbox": false,
        ]
        let names = try await RecordNames(["team": [owner]], try visit.session())
        guard names.isKnown(owner), !names.missing.contains(owner) else {
            // If no team owns the record, only a queue has the card, which can make a team. A mailbox gets the team of its queue,
            // and administrators keep other records.
            return entity.logicalName == EntityDefinition.queue.logicalName ? values : false as Any
        }
        values["team"] = names[owner] ?? visit.text("unnamed")
        let (members, count) = try await members(of: owner, visit)
        values["members"] = members
        values["rest"] = orFalse(count > members.count ? visit.texts.count("andMore", count - members.count) : nil)
        values["hasMembers"] = !members.isEmpty
        if entity.logicalName == EntityDefinition.queue.logicalName, case .id(let mailbox) = try record.value(of: "defaultmailbox"),
            try await !isOwned(.mailbox, mailbox, by: owner, visit)
        {
            values["mailbox"] = "\(visit.root)/records/mailboxes/\(mailbox.text)"
        }
        return values
    }

    private func isOwned(_ entity: EntityDefinition, _ id: UUID, by owner: UUID, _ visit: Visit) async throws -> Bool {
        var query = RecordQuery()
        query.outputs = [.init(.column(.init(entity.primaryID)))]
        query.filter = .all([
            .compare(.init(entity.primaryID), .equal, .text(id.text)), .compare(.init("ownerid"), .equal, .text(owner.text)),
        ])
        query.pageSize = 1
        return try await !visit.session().list(entity, query).records.isEmpty
    }

    /// The members of a team by name, and how many there are.
    private func members(of team: UUID, _ visit: Visit) async throws -> ([[String: Any]], Int) {
        let session = try visit.session()
        var query = RecordQuery()
        query.outputs = [.init(.column(.init("systemuserid")))]
        query.filter = .compare(.init("teamid"), .equal, .text(team.text))
        query.countsRows = true
        query.pageSize = Self.shownMembers
        let found = try await session.list(.teamMembership, query)
        let ids = try found.records.compactMap { record -> UUID? in
            if case .id(let id) = try record.value(of: "systemuserid") { id } else { nil }
        }
        let names = try await RecordNames(["systemuser": Set(ids)], session)
        let members = ids.map { (id: $0, name: names.shown($0, visit.texts)) }.sorted {
            $0.name.lowercased() < $1.name.lowercased()
        }
        return (members.map { ["member": $0.id.text, "name": $0.name] }, found.count ?? ids.count)
    }

    // MARK: Changes

    /// The changes of a team that forms can request.
    private enum TeamChange: String {
        case add, remove, make
    }

    /// Adds a member to the team that owns a record, removes a member, or makes a team that owns the record.
    @Sendable func changeTeam(_ visit: Visit) async throws -> PageResponse {
        let teams = try TeamAdministration(visit.session())
        guard let entity = visit.form["set"].flatMap(EntityCatalog.entity(set:)), Self.isOwnedWithPasswords(entity),
            let change = visit.form["do"].flatMap(TeamChange.init(rawValue:))
        else { throw FieldsealError.noPage }
        guard let id = UUID(text: visit.form["record"] ?? "") else { throw FieldsealError.noSuchRecord(entity) }
        if let reply = try await requireReauthentication(visit, for: Self.teamPath) { return reply }
        let (record, secrets) = try await read(entity, id, visit)
        guard case .id(let owner) = try record.value(of: "ownerid") else { throw FieldsealError.noSuchRecord(entity) }
        let page = "records/\(entity.entitySetName)/\(id.text)"
        do {
            switch change {
            case .make:
                let name = (visit.form["name"] ?? "").trimmingCharacters(in: .whitespaces)
                guard !name.isEmpty else { throw FieldsealError(.invalidArgument, visit.text("teamNeedsName")) }
                try await teams.make(name, for: record, of: entity, member: owner)
            case .add:
                guard let attribute = entity["ownerid"] else { throw FieldsealError.noPage }
                let found = try await lookedUp((visit.form["member"] ?? "").trimmingCharacters(in: .whitespaces), attribute, visit)
                guard found.entity.logicalName == EntityDefinition.systemUser.logicalName else {
                    throw FieldsealError(.invalidArgument, visit.text("lookupNone", ["name": visit.form["member"] ?? ""]))
                }
                try await teams.add(found.id, to: owner)
            case .remove:
                guard let member = UUID(text: visit.form["member"] ?? "") else { throw FieldsealError.noPage }
                if let question = try await removalQuestion(member, owner, page, visit) { return question }
                try await teams.remove(member, from: owner)
            }
        } catch let error as FieldsealError where error.code.httpStatus < 500 && error.code != .privilegeDenied {
            var reply = try await recordPage(visit, entity, record, secrets)
            if case .page(let template, var values, _) = reply.content {
                values["problem"] = visit.texts.told(error.message)
                reply.content = .page(template, values, .init(code: error.code.httpStatus))
            }
            return reply
        }
        return .redirect("\(visit.root)/\(page)?done=team-\(change.rawValue)")
    }

    /// The address of the forms about teams.
    static let teamPath = "access/team"

    /// The question before a member loses access; nil after the answer.
    private func removalQuestion(_ member: UUID, _ team: UUID, _ page: String, _ visit: Visit) async throws -> PageResponse? {
        let names = try await RecordNames(["systemuser": [member], "team": [team]], try visit.session())
        let named = ["name": names.shown(member, visit.texts), "team": names.shown(team, visit.texts)]
        let sent = ["set", "record", "do", "member"].reduce(into: [:]) { $0[$1] = visit.form[$1] ?? "" }
        return try unanswered(
            ("removeMemberTitle", "removeMemberWhy", "removeMember"), named, Self.teamPath, sent, page,
            about: [member.text, team.text], visit)
    }
}
