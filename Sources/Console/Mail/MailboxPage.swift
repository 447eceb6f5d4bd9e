import Email
import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// Actions on mailboxes beside editing them: approving, testing, enabling, disabling; on one or many.
extension Console {
    /// An action on a mailbox.
    enum MailboxAction: String, CaseIterable {
        case test, approve, enable, disable, profile

        /// The values that the action sets.
        var members: [JSONValue.Member] {
            switch self {
            case .test:
                [
                    .init("testemailconfigurationscheduled", true), .init("incomingemaildeliverymethod", 2),
                    .init("outgoingemaildeliverymethod", 2),
                    .init("emailrouteraccessapproval", 1),
                ]
            case .approve: [.init("emailrouteraccessapproval", 1)]
            case .enable:
                [
                    .init("enabledforincomingemail", true), .init("enabledforoutgoingemail", true), .init("statecode", 0),
                    .init("statuscode", 1),
                ]
            case .disable: [.init("statecode", 1), .init("statuscode", 2)]
            case .profile: []
            }
        }

        /// The notice after the action.
        var done: String {
            switch self {
            case .test: "testing"
            case .approve: "approved"
            case .enable: "enabledDone"
            case .disable: "disabledDone"
            case .profile: "saved"
            }
        }
    }

    /// The card on a mailbox's page with its state, what is missing, and the next step.
    func mailboxStatus(_ visit: Visit, _ record: Record, hasPassword: Bool) async throws -> [String: Any] {
        let state = try MailboxState(record)
        func number(_ name: String) throws -> Int64? {
            if case .int(let number) = try record.value(of: name) { number } else { nil }
        }
        func text(_ name: String) throws -> String? {
            if case .text(let text) = try record.value(of: name), !text.isEmpty { text } else { nil }
        }
        let isTesting = state == .testing
        let profileName = try await nameOfProfile(record, visit)
        // A person who may not read profiles does not learn that one was deleted.
        let profile: Bool =
            try record.value(of: "emailserverprofile") != .null
            && (profileName != nil || !Navigation.mayList(.emailServerProfile, visit.roles))
        let approved = try record.value(of: "emailrouteraccessapproval") == RouterApproval.approved.value
        func step(_ title: String, _ isDone: Bool?, _ more: String?) -> [String: Any] {
            let style = isDone.map { $0 ? "good" : "bad" } ?? (isTesting ? "busy" : "")
            return [
                "style": style, "text": visit.text(title), "state": visit.text("step:\(style.isEmpty ? "open" : style)"),
                "more": orFalse(more),
            ]
        }
        func outcome(_ name: String) throws -> Bool? {
            switch try number(name).flatMap(MailOutcome.init(rawValue:)) {
            case .success where !isTesting: true
            case .failure where !isTesting: false
            default: nil
            }
        }
        let error = try text("lastsyncerror")
        let (incoming, outgoing) = (try outcome("incomingemailstatus"), try outcome("outgoingemailstatus"))
        let mayAct: Bool =
            PrivilegeTable.mayWrite("testemailconfigurationscheduled", of: .mailbox, visit.roles)
            && PrivilegeTable.depth(of: .update, on: .mailbox, for: visit.roles) != .none
        let steps: [[String: Any]] = [
            step("stepProfile", profile ? true : nil, profileName),
            step("stepPassword", hasPassword ? true : nil, hasPassword ? nil : visit.text("stepPasswordWhy")),
            step("stepApproved", approved ? true : nil, nil),
            step("stepIncoming", incoming, incoming == false ? error : nil),
            step("stepOutgoing", outgoing, outgoing == false ? error : nil),
        ]
        var status: [String: Any] = [
            "badge": ["style": state.style, "text": visit.text("mailboxState:\(state.rawValue)")],
            "sentence": visit.text("mailboxSentence:\(state.rawValue)"), "isLive": isTesting,
            "action": "\(visit.root)/records/mailboxes/\(record.id.text)/do",
            "steps": steps, "facts": try facts(record, visit), "mayAct": mayAct,
            "mayTest": state != .disabled && profile, "mayApprove": !approved && state != .disabled,
            "isDisabled": state == .disabled,
        ]
        status["alert"] = try await newestAlert(record.id, besides: error, visit)
        status.merge(outlook(try await visit.session().outlook(ofMailbox: record.id), of: record, state, visit)) { own, _ in own }
        return status
    }

    private func nameOfProfile(_ record: Record, _ visit: Visit) async throws -> String? {
        guard case .id(let id) = try record.value(of: "emailserverprofile") else { return nil }
        return try await RecordNames(["emailserverprofile": [id]], try visit.session())[id]
    }

    /// The values that the router wrote into a mailbox, without empty ones.
    private func facts(_ record: Record, _ visit: Visit) throws -> [[String: Any]] {
        let names = [
            "lastsuccessfulsynccompletedon", "processinglastattemptedon", "testmailboxaccesscompletedon",
            "postponemailboxprocessinguntil",
            "itemsprocessedforlastsync", "itemsfailedforlastsync", "transientfailurecount",
        ]
        return try names.compactMap { name in
            guard let attribute = EntityDefinition.mailbox[name] else { return nil }
            let label = visit.texts.label(attribute, of: .mailbox)
            switch try record.value(of: name) {
            case .date(let date): return ["label": label, "time": visit.texts.timeAgo(date), "value": false]
            case .int(let number) where number != 0 || name == "itemsprocessedforlastsync":
                return ["label": label, "time": false, "value": visit.texts.number(Int(number))]
            default: return nil
            }
        }
    }

    /// What the router knows of the mailbox: what it waits for, what was set aside and why, and the next attempt.
    private func outlook(_ outlook: MailboxOutlook, of record: Record, _ state: MailboxState, _ visit: Visit) -> [String: Any] {
        var lines: [[String: Any]] = []
        func line(_ text: String, _ time: Date? = nil, _ link: String? = nil) {
            lines.append(["text": text, "time": orFalse(time.map { visit.texts.timeAgo($0) }), "href": orFalse(link)])
        }
        if !outlook.hasRouter, state != .disabled { line(visit.text("outlookNoRouter")) }
        if outlook.isWorkedOn { line(visit.text("outlookWorkedOn")) }
        if let since = outlook.watchedSince { line(visit.text("outlookWatched"), since) }
        let emails = Navigation.mayList(.email, visit.roles) ? "\(visit.root)/records/emails?of=\(record.id.text)" : nil
        if outlook.waiting > 0 {
            line(
                visit.texts.count("outlookWaiting", outlook.waiting), nil,
                emails.map { "\($0)&status=\(EmailStatus.pendingSend.rawValue)" })
            if let next = outlook.nextSending { line(visit.text("outlookNextSending"), next) }
        }
        if outlook.failed > 0 {
            line(
                visit.texts.count("outlookFailed", outlook.failed), nil,
                emails.map { "\($0)&status=\(EmailStatus.failed.rawValue)" })
        }
        let aside = outlook.setAside.map { message -> [String: Any] in
            [
                "name": message.messageID ?? visit.text("unnamed"), "reason": message.reason,
                "attempts": visit.texts.count("outlookAttempts", message.attempts),
                "next": visit.texts.timeAgo(message.nextAttempt),
            ]
        }
        return [
            "outlook": lines, "hasOutlook": !lines.isEmpty, "setAside": aside, "hasSetAside": !aside.isEmpty,
            "setAsideTitle": visit.texts.count("outlookSetAside", outlook.setAsideCount),
        ]
    }

    /// - Parameter error: A text that the page shows already.
    private func newestAlert(_ id: UUID, besides error: String?, _ visit: Visit) async throws -> Any {
        guard Navigation.mayList(.traceLog, visit.roles) else { return false }
        var query = RecordQuery()
        query.outputs = ["text", "level", "modifiedon"].map { .init(.column(.init($0))) }
        query.filter = .compare(.init("regardingobjectid"), .equal, .text(id.text))
        query.order = [.init(.column(.init("createdon")), descending: true)]
        query.pageSize = 1
        guard let record = try await visit.session().list(.traceLog, query).records.first,
            case .text(let text) = try record.value(of: "text"), case .int(let level) = try record.value(of: "level"), level > 1,
            text != error
        else { return false }
        return ["text": text, "href": "\(visit.root)/records/tracelogs/\(record.id.text)"]
    }

    @Sendable func changeMailbox(_ visit: Visit) async throws -> Reply {
        guard visit.parameter("set") == "mailboxes", let id = visit.parameter("id").flatMap(UUID.init(text:)),
            let action = visit.form["do"].flatMap(MailboxAction.init(rawValue:)),
            action != .profile
        else { throw FieldsealError.noPage }
        let path = "\(visit.root)/records/mailboxes/\(id.text)"
        if action == .disable, visit.form["confirmed"] == nil {
            let name = try await RecordNames(["mailbox": [id]], try visit.session())[id] ?? id.text
            return .page(
                "confirm",
                [
                    "title": visit.text("disableTitle", ["name": name]), "text": visit.text("disableMailboxWhy"),
                    "action": "\(path)/do",
                    "fields": [["name": "do", "value": "disable"], ["name": "confirmed", "value": "1"]],
                    "button": visit.text("disableNow", ["name": name]), "back": path,
                ])
        }
        guard try await mayDo(action, at: id, visit) else {
            return visit.message("noProfile", visit.text("noProfileChosen"), status: .badRequest)
        }
        try await visit.session().write(.upsert(.mailbox, .id(id), action.members, .mustExist))
        return .redirect("\(path)?done=\(action.done)")
    }

    /// Whether an action can have an effect: no router tests a mailbox without a server profile.
    private func mayDo(_ action: MailboxAction, at id: UUID, _ visit: Visit) async throws -> Bool {
        guard action == .test else { return true }
        var query = RecordQuery()
        query.outputs = [.init(.column(.init("emailserverprofile")))]
        query.filter = .compare(.init("mailboxid"), .equal, .text(id.text))
        guard let mailbox = try await visit.session().list(.mailbox, query).records.first else { return true }
        return try await nameOfProfile(mailbox, visit) != nil
    }

    // MARK: Many at once

    /// How many mailboxes one request changes at most: a page of the list.
    private static let bulkLimit = 100

    @Sendable func changeMany(_ visit: Visit) async throws -> Reply {
        let entity = try entity(visit)
        guard entity.logicalName == "mailbox", let action = visit.form["do"].flatMap(MailboxAction.init(rawValue:)) else {
            throw FieldsealError.noPage
        }
        let ids = visit.form.keys.filter { $0.hasPrefix("id.") }.compactMap { UUID(text: String($0.dropFirst(3))) }.prefix(
            Self.bulkLimit)
        let back =
            "\(visit.root)/\(Visit.page(visit.form["returns"].map { String($0.dropFirst(visit.root.count + 1)) } ?? "records/mailboxes"))"
        guard !ids.isEmpty else { return visit.message("nothingChosen", visit.text("nothingChosenWhy"), status: .badRequest) }
        if action == .disable, visit.form["confirmed"] == nil { return confirmMany(visit, Array(ids), back) }
        let session = try visit.session()
        var members = action.members
        if action == .profile {
            guard let name = visit.form["profile"], !name.isEmpty, let attribute = EntityDefinition.mailbox["emailserverprofile"]
            else {
                return visit.message("noProfile", visit.text("noProfileChosen"), status: .badRequest)
            }
            let (_, profile) = try await lookedUp(name, attribute, visit)
            members = [.init("emailserverprofile@odata.bind", .string("/emailserverprofiles(\(profile.text))"))]
        }
        var failed = 0
        for id in ids {
            guard try await mayDo(action, at: id, visit) else {
                failed += 1
                continue
            }
            do {
                try await session.write(.upsert(.mailbox, .id(id), members, .mustExist))
            } catch let error as FieldsealError where error.code.httpStatus < 500 {
                failed += 1
            }
        }
        let separator = back.contains("?") ? "&" : "?"
        return .redirect("\(back)\(separator)done=changedMany&n=\(ids.count - failed)\(failed > 0 ? "&failed=\(failed)" : "")")
    }

    private func confirmMany(_ visit: Visit, _ ids: [UUID], _ back: String) -> Reply {
        let fields = ids.map { ["name": "id.\($0.text)", "value": "1"] }
        return .page(
            "confirm",
            [
                "title": visit.texts.count("disableMany", ids.count),
                "text": visit.text(ids.count == 1 ? "disableMailboxWhy" : "disableMailboxesWhy"),
                "action": "\(visit.root)/records/mailboxes/bulk",
                "fields": fields + [
                    ["name": "do", "value": "disable"], ["name": "confirmed", "value": "1"], ["name": "returns", "value": back],
                ],
                "button": visit.text("disable"), "back": back,
            ])
    }
}
