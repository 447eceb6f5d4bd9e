import Email
import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// The state of a mailbox on its page: what is missing, and the next step.
extension Console {
    /// The card on a mailbox's page with its state, what is missing, and the next step.
    func mailboxStatus(_ visit: Visit, _ record: Record, hasPassword: Bool) async throws -> [String: Any] {
        let state = try MailboxState(record)
        func number(_ name: String) throws -> Int64? {
            if case .int(let number) = try record.value(of: name) { number } else { nil }
        }
        func text(_ name: String) throws -> String? {
            if case .text(let text) = try record.value(of: name), !text.isEmpty { text } else { nil }
        }
        let (isTesting, isTrying) = (state == .testing, try await isTryingPassword(of: record, visit))
        let profileName = try await nameOfProfile(record, visit)
        // A person who may not read profiles must not learn that one was deleted.
        let profile = try Self.hasProfile(record, named: profileName, visit)
        let approved = try record.value(of: "emailrouteraccessapproval") == RouterApproval.approved.value
        let error = try text("lastsyncerror")
        let waits = !approved && Self.saysUnapproved(error)
        func step(_ title: String, _ isDone: Bool?, _ more: String?) -> [String: Any] {
            let style = isDone.map { $0 ? "good" : "bad" } ?? (isTesting ? "busy" : "")
            return [
                "style": style, "text": visit.text(title), "state": visit.text("step:\(style.isEmpty ? "open" : style)"),
                "more": orFalse(more), "href": false,
            ]
        }
        func outcome(_ name: String) throws -> Bool? {
            switch try number(name).flatMap(MailOutcome.init(rawValue:)) {
            case .success where !isTesting: true
            case .failure where !isTesting && !waits: false
            default: nil
            }
        }
        let told = error.map(visit.texts.toldReport)
        let mayApprove = MailboxAction.approve.isAllowed(for: visit.roles)
        let mayAct = MailboxAction.test.isAllowed(for: visit.roles)
        let passwordHint = try passwordHint(record, hasPassword, visit)
        let (incoming, outgoing) = (try outcome("incomingemailstatus"), try outcome("outgoingemailstatus"))
        var profileStep = step("stepProfile", profile ? true : nil, profileName)
        if profileName != nil { profileStep["href"] = orFalse(try profilePage(record, visit)) }
        let steps = [
            profileStep,
            step("stepPassword", passwordHint == nil ? true : nil, passwordHint),
            step("stepApproved", approved ? true : nil, nil),
            step("stepIncoming", incoming, incoming == false ? told : nil),
            step("stepOutgoing", outgoing, outgoing == false ? incoming == false ? visit.text("stepOutgoingToo") : told : nil),
        ]
        var status: [String: Any] = [
            "isLive": isTesting || isTrying,
            "sentence": visit.text(isTrying ? "passwordTried" : "mailboxSentence:\(state.rawValue)"),
            "badge": badge(isTrying ? .testing : state, visit), "action": "\(visit.root)/records/mailboxes/\(record.id.text)/do",
            "steps": steps, "facts": try await belongingFacts(record, visit) + (try facts(record, visit)), "mayAct": mayAct,
            "mayTest": state != .disabled && profile && (approved || mayApprove),
            "testText": visit.text(approved ? "testAndEnable" : "approveAndTest"), "approves": !approved,
            "mayApprove": !approved && state != .disabled && mayApprove,
            "isDisabled": state == .disabled, "isAlone": false,
        ]
        status["alert"] = try await newestAlert(record, state, besides: error, isTried: isTesting || isTrying, visit)
        if try record.value(of: "regardingobjectid") == .null { status["isAlone"] = Self.alone(visit) }
        let known = try await visit.session().outlook(ofMailbox: record.id)
        status.merge(try outlook(known, of: record, state, visit)) { own, _ in own }
        return status
    }

    private func badge(_ state: MailboxState, _ visit: Visit) -> [String: Any] {
        ["style": state.style, "text": visit.text("mailboxState:\(state.rawValue)")]
    }

    /// Seconds for which a page waits for the first turn with a new password.
    private static let patience = 60.0

    /// Whether a password was just saved, and the router has yet to use it. Until the router uses the password, the mailbox's state
    /// is about the former password. Routers don't try a mailbox without a server profile or an approved address.
    func isTryingPassword(of record: Record, _ visit: Visit) async throws -> Bool {
        func date(_ name: String) throws -> Date? {
            if case .date(let date) = try record.value(of: name) { date } else { nil }
        }
        guard visit.query("done") == "passwordSaved", try isFetched(record), let saved = try date("modifiedon"),
            -saved.timeIntervalSinceNow < Self.patience,
            try record.value(of: "emailrouteraccessapproval") == RouterApproval.approved.value,
            try Self.hasProfile(record, named: try await nameOfProfile(record, visit), visit),
            try await visit.session().hasRouter()
        else { return false }
        guard let begun = try date("lastsyncstartedon"), begun > saved else { return true }
        let ends = try ["lastsuccessfulsynccompletedon", "lastsyncerroroccurredon"].compactMap(date)
        return !ends.contains { $0 >= begun }
    }

    /// The notice about a password that was just saved; nil if no password was just saved.
    func passwordNotice(_ record: Record, _ visit: Visit) async throws -> String? {
        let notice = try await outcomeOfPassword(record, visit)
        return visit.query("own") == nil ? notice : notice.map { "\($0) \(visit.text("ownSignInNow"))" }
    }

    private func outcomeOfPassword(_ record: Record, _ visit: Visit) async throws -> String? {
        switch visit.query("done") {
        case "passwordSaved": visit.text(try await isTryingPassword(of: record, visit) ? "passwordSaved" : "saved")
        case "passwordTested": visit.text(try MailboxState(record) == .testing ? "passwordTested" : "saved")
        case "passwordWaits": visit.text("passwordWaits", ["test": visit.text("testAndEnable")])
        default: nil
        }
    }

    /// Whether a mailbox has a server profile. If the person may read profiles, the profile must also exist.
    private static func hasProfile(_ record: Record, named name: String?, _ visit: Visit) throws -> Bool {
        guard try record.value(of: "emailserverprofile") != .null else { return false }
        return name != nil || !Navigation.mayList(.emailServerProfile, visit.roles)
    }

    /// Whether an error says that the address is not approved. In this case no router has tried the mailbox.
    private static func saysUnapproved(_ error: String?) -> Bool { error?.contains("emailrouteraccessapproval") == true }

    /// What prevents the mailbox's own password from being used; nil if nothing does.
    private func passwordHint(_ record: Record, _ hasPassword: Bool, _ visit: Visit) throws -> String? {
        guard hasPassword else { return visit.text("stepPasswordWhy") }
        let name = "allowemailconnectortousecredentials"
        guard try record.value(of: name) != .bool(true), let attribute = EntityDefinition.mailbox[name] else { return nil }
        return visit.text("stepPasswordUnused", ["box": visit.texts.label(attribute, of: .mailbox)])
    }

    private func profilePage(_ record: Record, _ visit: Visit) throws -> String? {
        guard case .id(let id) = try record.value(of: "emailserverprofile") else { return nil }
        return "\(visit.root)/records/emailserverprofiles/\(id.text)"
    }

    /// The values about a mailbox that belongs to no queue and no user.
    private static func alone(_ visit: Visit) -> [String: Any] {
        let mayConnect = may(.create, .mailbox, visit) && may(.create, .queue, visit)
        return ["connect": orFalse(mayConnect ? "\(visit.root)/connect" : nil)]
    }

    func nameOfProfile(_ record: Record, _ visit: Visit) async throws -> String? {
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
        let isPostponed = try isPostponed(record)
        return try names.compactMap { name in
            guard let attribute = EntityDefinition.mailbox[name] else { return nil }
            let label = visit.texts.label(attribute, of: .mailbox)
            switch try record.value(of: name) {
            case .date where name == "postponemailboxprocessinguntil" && !isPostponed: return nil
            // Only a future time is shown. After that time the mailbox no longer waits.
            case .date(let date) where name == "postponemailboxprocessinguntil" && date <= Date(): return nil
            case .date(let date): return ["label": label, "time": visit.texts.timeAgo(date), "value": false, "href": false]
            case .int(let number) where number != 0 || name == "itemsprocessedforlastsync":
                return ["label": label, "time": false, "value": visit.texts.number(Int(number)), "href": false]
            default: return nil
            }
        }
    }

    /// Whether routers fetch the mailbox's messages or are to test it, so that they use its password at their next turn.
    private func isFetched(_ record: Record) throws -> Bool {
        guard try MailboxState(record) != .disabled else { return false }
        return try record.value(of: "enabledforincomingemail") == .bool(true)
            || record.value(of: "testemailconfigurationscheduled") == .bool(true)
    }

    /// Whether routers send the mailbox's e-mails.
    private func isSending(_ record: Record) throws -> Bool {
        try MailboxState(record) != .disabled && record.value(of: "enabledforoutgoingemail") == .bool(true)
    }

    /// Whether the router waits until a certain time before its next attempt. If a mailbox only sends, it waits only after a
    /// failure. A test is not postponed.
    private func isPostponed(_ record: Record) throws -> Bool {
        guard try record.value(of: "testemailconfigurationscheduled") != .bool(true) else { return false }
        if try isFetched(record) { return true }
        guard try isSending(record), case .int(let failures) = try record.value(of: "transientfailurecount") else { return false }
        return failures > 0
    }

    /// What the router reports of the mailbox: e-mails that wait, messages that were set aside and why, and the next attempt.
    private func outlook(
        _ outlook: MailboxOutlook, of record: Record, _ state: MailboxState, _ visit: Visit
    ) throws -> [String: Any] {
        let isSending = try isSending(record)
        var lines: [[String: Any]] = []
        func line(_ text: String, _ time: Date? = nil, _ link: String? = nil, isMoment: Bool = false) {
            let shown = time.map { isMoment ? visit.texts.time($0) : visit.texts.timeAgo($0) }
            lines.append(["text": text, "time": orFalse(shown), "href": orFalse(link), "isMoment": isMoment])
        }
        if !outlook.hasRouter, state != .disabled { line(visit.text("outlookNoRouter")) }
        if outlook.isWorkedOn { line(visit.text("outlookWorkedOn")) }
        if let since = outlook.watchedSince { line(visit.text("outlookWatched"), since, isMoment: true) }
        let emails = Navigation.mayList(.email, visit.roles) ? "\(visit.root)/records/emails?of=\(record.id.text)" : nil
        if outlook.waiting > 0 {
            line(
                visit.texts.count("outlookWaiting", outlook.waiting), nil,
                emails.map { "\($0)&status=\(EmailStatus.pendingSend.rawValue)" })
            if let next = outlook.nextSending, isSending { line(visit.text("outlookNextSending"), next) }
        }
        if outlook.failed > 0 {
            line(
                visit.texts.count("outlookFailed", outlook.failed), nil,
                emails.map { "\($0)&status=\(EmailStatus.failed.rawValue)" })
        }
        let aside = outlook.setAside.map { message -> [String: Any] in
            [
                "name": message.messageID ?? visit.text("unnamed"), "reason": visit.texts.toldReport(message.reason),
                "attempts": visit.texts.count("outlookAttempts", message.attempts),
                "next": visit.texts.timeAgo(message.nextAttempt),
            ]
        }
        return [
            "outlook": lines, "hasOutlook": !lines.isEmpty, "setAside": aside, "hasSetAside": !aside.isEmpty,
            "setAsideTitle": visit.texts.count("outlookSetAside", outlook.setAsideCount),
        ]
    }

    /// When a working mailbox last had a turn without a failure.
    private func lastSuccess(_ record: Record, _ state: MailboxState) throws -> Date? {
        guard state == .working else { return nil }
        return try ["lastsuccessfulsynccompletedon", "testmailboxaccesscompletedon"].compactMap { name in
            if case .date(let date) = try record.value(of: name) { date } else { nil }
        }.max()
    }

    /// The newest alert; false if there is none to show, or if the mailbox has worked since the alert.
    ///
    /// - Parameters:
    ///   - error: A text that the page shows already.
    ///   - isTried: Whether the mailbox is being tested, or its new password tried.
    private func newestAlert(
        _ mailbox: Record, _ state: MailboxState, besides error: String?, isTried: Bool, _ visit: Visit
    ) async throws -> Any {
        // While a mailbox is tried, its alerts are about an earlier turn. Also one that a turn with other settings made meanwhile.
        guard !isTried, Navigation.mayList(.traceLog, visit.roles) else { return false }
        var query = RecordQuery()
        query.outputs = ["text", "level", "modifiedon"].map { .init(.column(.init($0))) }
        query.filter = .compare(.init("regardingobjectid"), .equal, .text(mailbox.id.text))
        query.order = [.init(.column(.init("createdon")), descending: true)]
        query.pageSize = 1
        guard let record = try await visit.session().list(.traceLog, query).records.first,
            case .text(let text) = try record.value(of: "text"), case .int(let level) = try record.value(of: "level"), level > 1,
            text != error
        else { return false }
        if let success = try lastSuccess(mailbox, state), case .date(let date) = try record.value(of: "modifiedon"), date <= success
        {
            return false
        }
        let isSaid = error != nil && Texts.cause(text) == error
        return [
            "text": visit.texts.toldReport(isSaid ? MailboxLeases.disabledNote : text),
            "href": "\(visit.root)/records/tracelogs/\(record.id.text)",
        ]
    }
}
