import CellCrypto
import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// Actions on many mailboxes at once, from their list.
extension Console {
    /// How many mailboxes one request changes at most: a page of the list.
    private static let bulkLimit = 100
    /// How many mailboxes with the same reason are shown at once. The other mailboxes are in a section that can be opened.
    private static let shownNames = 20

    /// What the person chose in the list's form.
    private struct Choice {
        let action: MailboxAction
        /// The mailboxes, in the order of their names in the list.
        let chosen: [(id: UUID, name: String)]
        /// The server profile to assign.
        var profile: UUID?
        /// Whether a test also approves addresses.
        var approves = false
        var ids: [UUID] { chosen.map(\.id) }
    }

    @Sendable func changeMany(_ visit: Visit) async throws -> PageResponse {
        let entity = try entity(visit)
        guard entity.logicalName == "mailbox", let action = visit.form["do"].flatMap(MailboxAction.init(rawValue:)) else {
            throw FieldsealError.noPage
        }
        let page = visit.form["returns"].map { String($0.dropFirst(visit.root.count + 1)) }
        let back = "\(visit.root)/\(Visit.page(page ?? "records/mailboxes"))"
        var choice = Choice(action: action, chosen: Self.chosen(visit))
        func refused(_ problem: String) throws -> PageResponse {
            var result = BulkResult(action)
            (result.problem, result.ticked, result.profile) = (problem, choice.ids, visit.form["profile"])
            return try list(back, showing: result, visit)
        }
        if visit.form["cancel"] != nil {
            var result = BulkResult(action)
            (result.isCancelled, result.ticked, result.profile) = (true, choice.ids, visit.form["profile"])
            return try list(back, showing: result, visit)
        }
        guard !choice.chosen.isEmpty else { return try refused(visit.text("nothingChosenWhy")) }
        if action == .profile {
            guard let name = visit.form["profile"]?.trimmingCharacters(in: .whitespaces), !name.isEmpty,
                let attribute = EntityDefinition.mailbox["emailserverprofile"]
            else { return try refused(visit.text("noProfileChosen")) }
            do {
                choice.profile = try await lookedUp(name, attribute, visit).id
            } catch let error as FieldsealError where error.code.httpStatus < 500 {
                return try refused(error.message)
            }
        }
        let facts = try await MailboxFacts.read(choice.ids, try visit.session())
        if let question = try question(choice, facts, back, visit) { return question }
        choice.approves =
            visit.form["approves"].map { $0 != "0" } ?? false && MailboxAction.approve.isAllowed(for: visit.roles)
        return try list(back, showing: try await changed(choice, facts, visit), visit)
    }

    /// The ticked mailboxes and their names in the list, in the order of names.
    private static func chosen(_ visit: Visit) -> [(id: UUID, name: String)] {
        let all = visit.form.compactMap { field, name in
            field.hasPrefix("id.") ? UUID(text: String(field.dropFirst(3))).map { (id: $0, name: name) } : nil
        }
        return Array(all.sorted { ($0.name, $0.id.text) < ($1.name, $1.id.text) }.prefix(bulkLimit))
    }

    /// The question before the change; nil if the action needs none, or after the answer.
    private func question(_ choice: Choice, _ facts: [UUID: MailboxFacts], _ back: String, _ visit: Visit) throws
        -> PageResponse?
    {
        let question = MailboxQuestion(
            action: "\(visit.root)/records/mailboxes/bulk", back: back, keepsChoice: true,
            fields: choice.chosen.map { ("id.\($0.id.text)", $0.name) } + [("do", choice.action.rawValue), ("returns", back)])
        func named(_ boxes: [(id: UUID, name: String)]) -> [(id: UUID, name: String)] {
            boxes.map { ($0.id, facts[$0.id]?.shownName ?? $0.name) }
        }
        switch choice.action {
        case .disable:
            let subject = try MailboxQuestion.subject(.disable, named(choice.chosen))
            guard visit.form["confirmed"] != subject else { return nil }
            let text = visit.text(choice.chosen.count == 1 ? "disableMailboxWhy" : "disableMailboxesWhy")
            let names = named(choice.chosen).map(\.name)
            return question.disable(visit.texts.count("disableMany", choice.chosen.count), text, names, subject, visit)
        case .profile:
            // Mailboxes that have the profile already are not changed.
            let others = choice.chosen.filter { facts[$0.id].map { !$0.isDone(.profile, choice.profile) } ?? true }
            let subject = try MailboxQuestion.subject(.profile, named(others), choice.profile)
            guard !others.isEmpty, visit.form["confirmed"] != subject else { return nil }
            let profile = (visit.form["profile"] ?? "").trimmingCharacters(in: .whitespaces)
            var asked = question
            asked.fields.append(("profile", profile))
            return asked.assign(profile, named(others).map(\.name), subject, visit)
        case .approve where MailboxAction.approve.isAllowed(for: visit.roles):
            let open = choice.ids.compactMap { facts[$0] }.filter { !$0.isDone(.approve, nil) }
            guard !open.isEmpty, try visit.form["confirmed"] != MailboxQuestion.approval(of: open) else { return nil }
            return try question.approve(open, visit)
        case .test where visit.form["approves"] != "0" && MailboxAction.approve.isAllowed(for: visit.roles):
            let open = choice.ids.compactMap { facts[$0] }.filter(\.lacksApproval)
            guard !open.isEmpty, try visit.form["approves"] != MailboxQuestion.approval(of: open) else { return nil }
            return try question.approve(open, of: choice.chosen.count, visit)
        default: return nil
        }
    }

    private func changed(_ choice: Choice, _ facts: [UUID: MailboxFacts], _ visit: Visit) async throws -> BulkResult {
        let session = try visit.session()
        var result = BulkResult(choice.action)
        var members = choice.action.members
        if let profile = choice.profile {
            members = [.init("emailserverprofile@odata.bind", .string("/emailserverprofiles(\(profile.text))"))]
        }
        /// Why the database accepts no more changes.
        var end: String?
        for (id, name) in choice.chosen {
            let known = facts[id]
            let name = known?.name ?? name
            let approves: Bool = choice.approves && known?.lacksApproval == true
            if let reason = end ?? known?.obstacle(choice.action, approves: approves).map({ visit.text($0) }) {
                result.fail(id, name, reason)
            } else if known?.isDone(choice.action, choice.profile) == true, !approves {
                result.unchanged += 1
            } else {
                do {
                    let all = approves ? members + MailboxAction.approve.members : members
                    try await session.write(.upsert(.mailbox, .id(id), all, .mustExist))
                    result.changed += 1
                } catch {
                    guard let (message, status) = Self.refusal(error) else { throw error }
                    let isGone = (error as? FieldsealError)?.code == .objectDoesNotExist
                    let reason = isGone ? visit.text("isGone") : visit.texts.toldOfMany(message)
                    if status.code >= 500 { end = reason }
                    result.fail(id, name, reason)
                }
            }
        }
        return result
    }

    // MARK: The list afterwards

    private func list(_ back: String, showing result: BulkResult, _ visit: Visit) throws -> PageResponse {
        guard let signed = visit.signed else { throw FieldsealError.noPage }
        let sealed = try KeptForm(deployment.kek, resultFor: signed).sealed(result.fields, path: "")
        return .redirect("\(back)\(back.contains("?") ? "&" : "?")result=\(sealed)")
    }

    /// The result in the address of a list; nil if there is none for this person, or it is too old.
    func bulkResult(_ visit: Visit) -> BulkResult? {
        guard let signed = visit.signed, let sealed = visit.query("result") else { return nil }
        return KeptForm(deployment.kek, resultFor: signed).opened(sealed).flatMap { BulkResult($0.fields) }
    }

    /// The values of the list's template that show a result.
    ///
    /// - Parameter shown: The records that the list shows.
    func bulkValues(_ result: BulkResult, shown: Set<UUID>, _ visit: Visit) async throws -> [String: Any] {
        let names = try await RecordNames(["mailbox": Set(result.ticked)], try visit.session())
        var failures: [(reason: String, members: [[String: Any]])] = []
        for failure in result.failures {
            let name = names[failure.id] ?? failure.name
            let member: [String: Any] = [
                "name": name.isEmpty ? visit.text("unnamed") : name,
                "href": names[failure.id] == nil ? false as Any : "\(visit.root)/records/mailboxes/\(failure.id.text)",
            ]
            if let place = failures.firstIndex(where: { $0.reason == failure.reason }) {
                failures[place].members.append(member)
            } else {
                failures.append((failure.reason, [member]))
            }
        }
        // A mailbox that stays ticked may be on another page of the list. So this page shows a box for it too.
        let elsewhere = result.ticked.filter { !shown.contains($0) }.compactMap { id in
            names[id].map { ["id": id.text, "name": $0] }
        }
        func more(_ count: Int) -> Any { orFalse(count > 0 ? visit.texts.count("andMore", count) : nil) }
        let left = result.failed - failures.reduce(0) { $0 + $1.members.count }
        var values: [String: Any] = [
            "notice": orFalse(result.said(visit.texts)),
            "failures": failures.map { failure -> [String: Any] in
                let rest = Array(failure.members.dropFirst(Self.shownNames))
                return [
                    "reason": failure.reason, "members": Array(failure.members.prefix(Self.shownNames)), "rest": rest,
                    "more": more(rest.count),
                ]
            },
            "hasFailures": !failures.isEmpty,
            "failuresTitle": visit.texts.count("bulkFailed", result.failed),
            "moreFailures": more(left),
            "elsewhere": elsewhere, "hasElsewhere": !elsewhere.isEmpty,
            "isBulkOpen": !result.ticked.isEmpty || result.problem != nil,
            "bulkProfile": result.profile ?? "",
        ]
        values["problem"] = result.problem
        return values
    }
}
