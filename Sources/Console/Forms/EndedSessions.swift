import Authentication
import Foundation
import HTTPTypes
import Hummingbird
import JSON
import Model
import Tenancy

// Forms that are sent after their session has ended. What was typed must not be lost.
extension Console {
    /// A form that waits, sealed, for its person.
    enum WaitingForm {
        case form(KeptForm.Content, hasEnded: Bool)
        case tooLate(path: String)
    }

    /// Whether a form is of the session that sends it.
    func isOfSession(_ visit: Visit, _ signed: ConsoleSessions.AuthenticatedUser) -> Bool {
        formToken(signed.session.organization).isOfSession(visit.form["csrf"], visit.token ?? "", signed.userID)
    }

    static func formPath(_ visit: Visit) -> String { String(visit.request.uri.path.dropFirst(visit.root.count + 1)) }

    static func pageOfForm(_ visit: Visit) -> String { formPage(visit).removingPercentEncoding ?? "" }

    /// The form, sealed for the person on whose page it was. A form that is sealed already stays as it is.
    ///
    /// - Parameter path: The address of the form; nil for that of the request.
    func kept(
        _ visit: Visit, _ path: String? = nil, for owner: UUID, of organization: Organization, _ cause: KeptForm.Cause
    ) throws -> String {
        if let kept = visit.form[KeptForm.field], !kept.isEmpty { return kept }
        var form = visit.form
        // Files are too large to wait in a page. The form names the files instead.
        if !visit.files.isEmpty { form[Visit.lostFilesField] = visit.files.map(\.name).joined(separator: "\n") }
        return try KeptForm(deployment.kek, endedFor: owner, of: organization)
            .sealed(form, path: path ?? Self.formPath(visit), cause: cause)
    }

    /// Asks the form's person to sign in again. The form waits, sealed, in the page with the question.
    func signInAgain(_ visit: Visit) async throws -> PageResponse {
        guard Self.formPath(visit) != "sign-out" else {
            // The session has ended already, or its row was hidden at this moment.
            if let token = visit.cookie, let organization = visit.organizationRecord {
                try await sessions.endUnseen(
                    token, of: organization, everywhere: visit.form["everywhere"] != nil, address: visit.address,
                    requestID: visit.requestID)
            }
            return .redirect("\(visit.root)/sign-in?then=\(Self.formPage(visit))")
        }
        guard let organization = visit.organizationRecord, let owner = formToken(organization).owner(visit.form["csrf"]) else {
            return .redirect("\(visit.root)/sign-in?ended=1&then=\(Self.formPage(visit))")
        }
        let kept = try kept(visit, for: owner, of: organization, .ended)
        return .page("sign-in", try await signInValues(visit, then: Self.pageOfForm(visit), kept: kept), status: .forbidden)
    }

    /// Responds to a form from a page of another session: an earlier session of the same person, or a session of another person.
    func formOfAnotherSession(_ visit: Visit, _ signed: ConsoleSessions.AuthenticatedUser, _ body: Handler) async throws
        -> PageResponse
    {
        let organization = signed.session.organization
        let owner = formToken(organization).owner(visit.form["csrf"])
        let isOwn = owner == signed.userID
        let isSigningOut = Self.formPath(visit) == "sign-out"
        if isOwn, isSigningOut { return try await body(visit) }
        guard let owner, !isSigningOut else { return visit.message("wentWrong", visit.text("forged"), status: .forbidden) }
        let kept = try kept(visit, for: owner, of: organization, .other)
        guard isOwn else {
            var values = try await signInValues(visit, then: Self.pageOfForm(visit), kept: kept)
            values["caution"] = visit.text("formOfAnother", ["name": signed.name])
            values["back"] = "\(visit.root)/overview"
            return .page("sign-in", values, status: .forbidden)
        }
        guard let waiting = waitingForm(kept, of: signed) else {
            return visit.message("wentWrong", visit.text("forged"), status: .forbidden)
        }
        // The page that asks for the password was sent before, so the action of the form that waited may have been done already.
        let isRepeated = Self.formPath(visit) == "fresh"
        return try await keptFormPage(
            visit, waiting, kept, then: isRepeated ? "" : Self.pageOfForm(visit), why: isRepeated ? "keptAgainWhy" : nil,
            status: .forbidden)
    }

    /// After a sign-in at a provider, asks the person whether to send the form that waits in their browser.
    ///
    /// The form was sealed for the person who sent it, and this request changes nothing. So this request needs no form token.
    @Sendable func offerKept(_ visit: Visit) async throws -> PageResponse {
        let then = Self.pageOfForm(visit)
        guard let token = visit.token else {
            return .page("sign-in", try await signInValues(visit, then: then, kept: visit.form[KeptForm.field]), status: .forbidden)
        }
        return try await offerKeptForm(visit, token, then: then) ?? .redirect("\(visit.root)/overview")
    }

    /// After a sign-in, asks the person whether to send the form that waits; nil if no form waits, or the form is another person's.
    func offerKeptForm(_ visit: Visit, _ token: String, then: String) async throws -> PageResponse? {
        guard let kept = visit.form[KeptForm.field] else { return nil }
        var visit = visit
        try await sign(&visit, with: token)
        guard let signed = visit.signed, let waiting = waitingForm(kept, of: signed) else { return nil }
        remember(kept, of: signed)
        let reply: PageResponse =
            if let step = firstStepText(visit) {
                .page(
                    "kept-form",
                    [
                        "title": visit.text("keptFormTitle"), "caution": "\(step) \(visit.text("keptMeanwhile"))",
                        "field": "waits", "kept": kept, "action": "\(visit.root)/account/waits", "send": visit.text("goOn"),
                        "back": false, "what": false, "drop": false,
                    ])
            } else {
                try await keptFormPage(visit, waiting, kept, then: then)
            }
        return Self.signedIn(reply, visit, token)
    }

    /// Tells a person who signed in that another person's form is still waiting.
    func leftForAnother(_ visit: Visit, _ token: String, _ kept: String, then: String) async throws -> PageResponse {
        var visit = visit
        try await sign(&visit, with: token)
        let values: [String: Any] = [
            "title": visit.text("keptOtherTitle"), "caution": visit.text("keptOtherText"), "kept": kept,
            "href": "\(visit.root)/\(Visit.page(then))",
        ]
        return Self.signedIn(.page("kept-other", values), visit, token)
    }

    /// A page after a sign-in, with the new session's cookie.
    private static func signedIn(_ page: PageResponse, _ visit: Visit, _ token: String) -> PageResponse {
        var reply = page
        if case .page(let template, var values, let status) = reply.content {
            // The page was made without a session, or for another person's session.
            values["csrf"] = orFalse(visit.csrf)
            values["user"] = false
            reply.content = .page(template, values, status)
        }
        reply.cookies = [Visit.cookie(token)]
        return reply
    }

    /// The page that offers to send the form that waits, or says that this form is too old.
    private func keptFormPage(
        _ visit: Visit, _ waiting: WaitingForm, _ kept: String, then: String, why: String? = nil,
        status: HTTPResponse.Status = .ok
    ) async throws -> PageResponse {
        var values: [String: Any] = [
            "field": KeptForm.field, "kept": kept, "what": false, "send": false, "action": "", "user": false,
            "home": "\(visit.root)/overview", "drop": false,
        ]
        if let signed = visit.signed { remember(kept, of: signed) }
        values["back"] = "\(visit.root)/\(Visit.page(then))"
        switch waiting {
        case .form(let form, let hasEnded):
            if then.isEmpty, why != nil { values["back"] = "\(visit.root)/\(Visit.page(form.path))" }
            values["title"] = visit.text(hasEnded ? "keptFormTitle" : "keptFreshTitle")
            values["caution"] = visit.text(why ?? (hasEnded ? Self.why(form.cause) : "keptFreshWhy"))
            if hasEnded {
                values["drop"] = Visit.page(then.isEmpty ? form.path : then)
                values["back"] = false
            }
            values["send"] = visit.text(hasEnded ? Self.sendText(form.path) : "goOn")
            values["backText"] = visit.text("keptFormDrop")
            values["action"] = "\(visit.root)/\(form.path)"
            values["what"] = orFalse(try await subject(of: form, visit))
            values["typedOn"] = visit.texts.timeAgo(form.date)
            return .page("kept-form", values, status: status)
        case .tooLate(let path):
            values["title"] = visit.text("keptTooOldTitle")
            values["caution"] = visit.text("keptTooOldWhy")
            values["backText"] = visit.text("keptTooOldBack")
            values["back"] = "\(visit.root)/\(Visit.page(then.isEmpty ? path : then))"
            return .page("kept-form", values, status: .gone)
        }
    }

    /// The key of the text that says why a form waits.
    private static func why(_ cause: KeptForm.Cause) -> String {
        switch cause {
        case .ended: "keptFormWhy"
        case .other: "keptOtherWhy"
        case .password: "keptPasswordWhy"
        case .secondFactor: "keptFactorWhy"
        case .role: "keptRoleWhy"
        }
    }

    /// The key of the text of the button that sends a form.
    private static func sendText(_ path: String) -> String {
        let parts = path.split(separator: "/")
        let isEmail = path == Composing.new.path || parts.count == 4 && parts[1] == "emails" && parts[3] != "delete"
        if isEmail { return "keptFormSend" }
        return parts.count == 3 && parts[0] == "records" && parts[2] != "bulk" || path == "access/rules"
            ? "keptFormSave" : "keptFormGoOn"
    }

    /// The record that a form is about, in words; nil for a form that is about no record.
    private func subject(of form: KeptForm.Content, _ visit: Visit) async throws -> String? {
        let parts = form.path.split(separator: "/")
        guard parts.count >= 3, parts[0] == "records", let entity = EntityCatalog.entity(set: String(parts[1])) else { return nil }
        if parts[2] == "new" { return visit.text("new:\(entity.logicalName)") }
        guard let id = UUID(text: String(parts[2])),
            let name = try await RecordNames([entity.logicalName: [id]], visit.session())[id]
        else { return visit.text("entity:\(entity.logicalName)") }
        return "\(visit.text("entity:\(entity.logicalName)")) \(name)"
    }

    /// A form of this person that waits for a sign-in, and whether its session had ended; nil for another person's.
    func waitingForm(_ kept: String, of signed: ConsoleSessions.AuthenticatedUser) -> WaitingForm? {
        let ended = KeptForm(deployment.kek, endedFor: signed.userID, of: signed.session.organization)
        for (seal, hasEnded) in [(ended, true), (KeptForm(deployment.kek, signed), false)] {
            guard let form = seal.opened(kept) else { continue }
            return seal.isCurrent(form) ? .form(form, hasEnded: hasEnded) : .tooLate(path: form.path)
        }
        return nil
    }

    /// The form that waited for the password; or, if this form is too old, a page that says so.
    func waitedFor(_ kept: String, by signed: ConsoleSessions.AuthenticatedUser, _ visit: Visit) async throws -> (
        KeptForm.Content?, PageResponse?
    ) {
        guard let waiting = waitingForm(kept, of: signed) else { return (nil, nil) }
        if case .form(let form, _) = waiting { return (form, nil) }
        return (nil, try await keptFormPage(visit, waiting, kept, then: ""))
    }

    /// Processes a form with the fields that the person typed before they signed in again, if these fields were kept.
    func resumed(_ visit: Visit, _ signed: ConsoleSessions.AuthenticatedUser, _ body: Handler) async throws -> PageResponse {
        let path = Self.formPath(visit)
        // The page that asks for the password handles its waiting form itself.
        guard let kept = visit.form[KeptForm.field], !["fresh", "account/drop"].contains(path) else { return try await body(visit) }
        let (form, tooLate) = try await waitedFor(kept, by: signed, visit)
        if let tooLate { return tooLate }
        guard let form, form.path == path else { return visit.message("wentWrong", visit.text("forged"), status: .forbidden) }
        var visit = visit
        visit.form = form.fields
        let reply = try await body(visit)
        waitingForms.remove(kept)
        return reply
    }

    // MARK: First steps

    /// Redirects people to their account if they must first choose another password, or turn on one-time passwords. A form that
    /// they sent waits until they have done that.
    ///
    /// - Returns: Nil if the person has no first step to take, or the page is one that is allowed before it.
    func firstStep(_ visit: Visit) async throws -> PageResponse? {
        guard let signed = visit.signed, firstStepText(visit) != nil else { return nil }
        let page = visit.request.uri.path.dropFirst(visit.root.count).drop { $0 == "/" }
        let open = ["account", "account/password", "account/waits", "account/drop", "sign-in", "sign-in/kept", "sign-out"]
        guard !(open + (signed.mustChangePassword ? [] : Self.factorPages)).contains(String(page)) else { return nil }
        guard visit.request.method == .post, formToken(signed.session.organization).owner(visit.form["csrf"]) == signed.userID
        else {
            return .redirect("\(visit.root)/account")
        }
        var visit = visit
        let cause: KeptForm.Cause = signed.mustChangePassword ? .password : .secondFactor
        visit.form = ["waits": try kept(visit, for: signed.userID, of: signed.session.organization, cause)]
        return try await accountPage(visit, [:], status: .forbidden)
    }

    func firstStepText(_ visit: Visit) -> String? {
        if visit.signed?.mustChangePassword == true { return visit.text("mustChangePassword") }
        return visit.signed?.mustAddSecondFactor == true ? visit.text("mustAddSecondFactor") : nil
    }

    /// The pages for turning on one-time passwords, and the page that asks for the password on the way.
    private static let factorPages = ["account/offer", "account/confirm", "fresh"]

    /// The account of a person whose form waits until the first steps are done.
    @Sendable func accountMeanwhile(_ visit: Visit) async throws -> PageResponse { try await accountPage(visit, [:]) }
}
