import Authentication
import Foundation
import HTTPTypes
import JSON
import Model
import Tenancy

// Signing in and out, and entering the password again.
extension Console {
    @Sendable func signInPage(_ visit: Visit) async throws -> PageResponse {
        // A person who is signed in came here by the browser's Back button. But after an invitation, the person who was invited
        // signs in, who may be another person.
        if visit.signed != nil, visit.query("invited") == nil {
            return .redirect("\(visit.root)/\(Visit.page(visit.query("then")))")
        }
        return .page("sign-in", try await signInValues(visit, then: visit.query("then") ?? "", name: visit.filter("name") ?? ""))
    }

    /// - Parameter kept: A sealed form that waits for its person to sign in again.
    func signInValues(
        _ visit: Visit, then: String, name: String = "", kept: String? = nil, problem: String? = nil
    ) async throws -> [String: Any] {
        // A person who is signed in sees the same page, without the menu.
        var values: [String: Any] = [
            "title": visit.text("signIn"), "then": then, "name": name, "kept": orFalse(kept), "user": false, "back": false,
            "home": "\(visit.root)/sign-in",
        ]
        if kept != nil { values["caution"] = visit.text("sessionEndedKept") }
        if let problem { values["problem"] = problem }
        if visit.query("invited") == "1" { values["notice"] = visit.text("invitedDone") }
        if visit.query("ended") == "1" { values["caution"] = visit.text("sessionEnded") }
        values["lead"] = visit.text("signInTo", ["organization": visit.organization])
        let issuers = try await issuers(visit, then: Visit.page(then))
        values["issuers"] = issuers
        values["otherTab"] = kept != nil && !issuers.isEmpty
        return values
    }

    private func issuers(_ visit: Visit, then: String, isFresh: Bool = false) async throws -> [[String: Any]] {
        guard let organization = visit.organizationRecord else { return [] }
        func encoded(_ text: String) -> String { text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "" }
        return try await openID.offered(organization).map { entry in
            [
                "name": entry.name,
                "href": "\(visit.root)/sign-in/with/\(entry.id.text)?then=\(encoded(then))\(isFresh ? "&fresh=1" : "")",
            ]
        }
    }

    private func returnAddress(_ visit: Visit) -> String { "\(baseURL)\(visit.root)/sign-in/back" }

    /// Redirects the browser to a provider.
    @Sendable func signInElsewhere(_ visit: Visit) async throws -> PageResponse {
        guard let organization = visit.organizationRecord, let issuer = UUID(text: visit.parameter("issuer") ?? "") else {
            throw FieldsealError.noPage
        }
        let (url, cookie) = try await openID.begin(
            issuer, then: Visit.page(visit.query("then")), isFresh: visit.query("fresh") == "1", redirectURI: returnAddress(visit),
            to: organization)
        return .redirect(url, cookie: Visit.attemptCookie(cookie))
    }

    /// Handles the browser's return from a provider. The response is a page and not a redirect, because a browser that comes from
    /// another site does not send the new session's cookie yet.
    @Sendable func signInFromElsewhere(_ visit: Visit) async throws -> PageResponse {
        guard let organization = visit.organizationRecord else { throw FieldsealError.noPage }
        do {
            let names = ["state", "code", "iss", "error"]
            let answer = names.reduce(into: [String: String]()) { $0[$1] = visit.query($1) }
            let (token, then) = try await openID.finish(
                answer, cookie: visit.cookie(Visit.attemptCookieName), redirectURI: returnAddress(visit), to: organization,
                address: visit.address ?? "", requestID: visit.requestID)
            if let old = visit.cookie { try await endFormer(old, of: organization, visit) }
            var reply = PageResponse.page(
                "signed-in", ["title": visit.text("signIn"), "href": "\(visit.root)/\(Visit.page(then))"])
            reply.cookies = [Visit.cookie(token), Visit.attemptCookie(nil)]
            return reply
        } catch let error as FieldsealError where error.code == .accessDenied {
            return .page(
                "sign-in", try await signInValues(visit, then: "", problem: visit.texts.told(error.message)), status: .forbidden)
        }
    }

    @Sendable func signIn(_ visit: Visit) async throws -> PageResponse {
        guard let organization = visit.organizationRecord else { throw FieldsealError.noPage }
        let then = visit.form["then"] ?? ""
        do {
            let token = try await sessions.signIn(
                visit.form["name"] ?? "", password: visit.form["password"] ?? "", code: visit.form["code"] ?? "", to: organization,
                address: visit.address ?? "",
                requestID: visit.requestID)
            // The browser's earlier session ends now, so that it can't be used beside the new one.
            if let old = visit.cookie { try await endFormer(old, of: organization, visit) }
            if let reply = try await offerKeptForm(visit, token, then: then) { return reply }
            if let kept = visit.form[KeptForm.field], !kept.isEmpty {
                return try await leftForAnother(visit, token, kept, then: then)
            }
            return .redirect("\(visit.root)/\(Visit.page(then))", cookie: Visit.cookie(token))
        } catch let error as FieldsealError where [.accessDenied, .requestQuotaExceeded].contains(error.code) {
            let status = HTTPResponse.Status(code: error.code == .accessDenied ? 403 : 429)
            return .page(
                "sign-in",
                try await signInValues(
                    visit, then: then, name: visit.form["name"] ?? "", kept: visit.form[KeptForm.field],
                    problem: visit.texts.told(error.message)),
                status: status)
        }
    }

    private func endFormer(_ token: String, of organization: Organization, _ visit: Visit) async throws {
        try await sessions.signOut(token, of: organization, everywhere: false, address: visit.address, requestID: visit.requestID)
    }

    @Sendable func signOut(_ visit: Visit) async throws -> PageResponse {
        if let question = try everywhereQuestion(visit) { return question }
        if let token = visit.token, let organization = visit.organizationRecord {
            try await sessions.signOut(
                token, of: organization, everywhere: visit.form["everywhere"] != nil, address: visit.address,
                requestID: visit.requestID)
        }
        // Another person's form may wait in this page. The sign-in page keeps this form until that person signs in.
        if let kept = visit.form["waits"], !kept.isEmpty {
            var reply = PageResponse.page("sign-in", try await signInValues(visit, then: "", kept: kept))
            reply.cookies = [Visit.cookie(nil)]
            return reply
        }
        return .redirect("\(visit.root)/sign-in", cookie: Visit.cookie(nil))
    }

    // MARK: Entering the password again

    /// The page that requests the password; nil if the password was entered a short time ago.
    ///
    /// - Parameter path: The address of the form that waits. The form is sent again afterwards.
    func requireReauthentication(_ visit: Visit, for path: String) async throws -> PageResponse? {
        guard let signed = visit.signed else { throw FieldsealError.noPage }
        guard !signed.isFresh else { return nil }
        let kept = try KeptForm(deployment.kek, signed).sealed(visit.form, path: path)
        var page = try await freshPage(visit, kept: kept, of: path, asksCode: Self.needsCode(signed, for: path))
        // The form may contain a new key or another person's password.
        page.hasNoAddress = !visit.form.keys.allSatisfy(Self.fieldsWithoutSecrets.contains)
        return page
    }

    private static let fieldsWithoutSecrets: Set = ["csrf", "id", "confirmed"]

    /// Whether the one-time password is requested too. The forms that turn one-time passwords off or replace recovery codes have
    /// their own field for it.
    private static func needsCode(_ signed: ConsoleSessions.AuthenticatedUser, for path: String?) -> Bool {
        signed.hasSecondFactor && !["account/end", "account/codes"].contains(path)
    }

    /// - Parameter path: The address of the form that waits.
    private func freshPage(
        _ visit: Visit, kept: String?, of path: String?, asksCode: Bool, problem: String? = nil
    ) async throws -> PageResponse {
        var values: [String: Any] = [
            "title": visit.text("freshTitle"), "lead": visit.text(asksCode ? "freshCodeWhy" : "freshWhy"), "kept": orFalse(kept),
            "asksCode": asksCode, "isTyped": Self.isTyped(path),
        ]
        if let problem { values["problem"] = problem }
        let page = Visit.page(Self.formPage(visit).removingPercentEncoding)
        values["back"] = "\(visit.root)/\(page)"
        let issuers = try await issuers(visit, then: page, isFresh: true)
        values["issuers"] = issuers
        values["otherTab"] = kept != nil && !issuers.isEmpty
        return .page("fresh", values, status: .forbidden)
    }

    @Sendable func reauthenticate(_ visit: Visit) async throws -> PageResponse {
        guard let token = visit.token, let signed = visit.signed, let organization = visit.organizationRecord else {
            throw FieldsealError.noPage
        }
        let kept = visit.form[KeptForm.field].flatMap { $0.isEmpty ? nil : $0 }
        let waiting = kept.flatMap { KeptForm(deployment.kek, signed).opened($0)?.path }
        let asksCode = Self.needsCode(signed, for: waiting)
        if visit.form["cancel"] != nil { return try await cancelled(kept, by: signed, visit) }
        do {
            let new = try await sessions.reauthenticate(
                token, password: visit.form["password"] ?? "", code: asksCode ? visit.form["code"] ?? "" : nil,
                organization: organization, address: visit.address ?? "",
                requestID: visit.requestID)
            var again = visit
            try await sign(&again, with: new)
            let (form, tooLate) = try await waitedFor(kept ?? "", by: signed, again)
            if var tooLate {
                tooLate.cookies = [Visit.cookie(new)]
                return tooLate
            }
            guard let form, let handler = waitingHandlers[form.path] else {
                return .redirect("\(visit.root)/overview", cookie: Visit.cookie(new))
            }
            // The waiting form is now processed, with the session's new token.
            again.form = form.fields
            var reply: PageResponse
            do {
                reply = try await handler(again)
            } catch let error as FieldsealError {
                reply =
                    try refusedByRole(error, form.path, again)
                    ?? again.message("wentWrong", error.message, status: .init(code: error.code.httpStatus))
            }
            if reply.cookies.isEmpty { reply.cookies = [Visit.cookie(new)] }
            if case .page(let template, var values, let status) = reply.content {
                // The page's forms need the new token.
                values["csrf"] = again.csrf
                values["answerAt"] = "\(visit.root)/\(form.path)"
                reply.content = .page(template, values, status)
            }
            return reply
        } catch let error as FieldsealError where [.accessDenied, .requestQuotaExceeded].contains(error.code) {
            var page = try await freshPage(
                visit, kept: kept, of: waiting, asksCode: asksCode, problem: visit.texts.told(error.message))
            page.hasNoAddress = kept != nil
            return page
        }
    }

    /// The forms that wait for a password, by their addresses.
    private var waitingHandlers: [String: Handler] {
        var handlers: [String: Handler] = [
            "\(Self.encryptionPath)/key": showKey, "\(Self.encryptionPath)/change": changeKey,
            "\(Self.encryptionPath)/activate": activate, "access/rules": saveSignInRules, Self.teamPath: changeTeam,
            Self.userWithoutSignInPath: changeUserWithoutSignIn,
        ]
        for action in Self.accessActions { handlers["access/\(action)"] = { try await changeAccess(action, $0) } }
        for action in Self.approvalActions {
            handlers["\(Self.approvalsPath)/\(action)"] = { try await decide(action, $0) }
        }
        for action in ["offer", "confirm", "end", "codes", "end-session"] {
            handlers["account/\(action)"] = { try await changeAccount(action, $0) }
        }
        return handlers
    }

    // MARK: Invitations

    @Sendable func invitationPage(_ visit: Visit) async throws -> PageResponse {
        guard let organization = visit.organizationRecord else { throw FieldsealError.noPage }
        let token = visit.query("token") ?? ""
        guard let name = try await ConsoleUsers(deployment).invited(token, to: organization) else {
            return visit.message("invitationTitle", visit.text("invitationUsed"), status: .notFound)
        }
        return .page("invitation", ["title": visit.text("invitationTitle"), "name": name, "token": token])
    }

    @Sendable func acceptInvitation(_ visit: Visit) async throws -> PageResponse {
        guard let organization = visit.organizationRecord else { throw FieldsealError.noPage }
        let users = ConsoleUsers(deployment)
        let token = visit.form["token"] ?? ""
        guard let name = try await users.invited(token, to: organization) else {
            return visit.message("invitationTitle", visit.text("invitationUsed"), status: .notFound)
        }
        func again(_ problem: String, _ status: HTTPResponse.Status) -> PageResponse {
            .page(
                "invitation",
                ["title": visit.text("invitationTitle"), "name": name, "token": token, "problem": problem, "isAnswer": false],
                status: status)
        }
        guard visit.form["password"] == visit.form["again"] else { return again(visit.text("passwordsDiffer"), .badRequest) }
        do {
            try await users.accept(
                token, password: visit.form["password"] ?? "", to: organization, address: visit.address ?? "",
                requestID: visit.requestID)
            let typed = name.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
            return .redirect("\(visit.root)/sign-in?invited=1&name=\(typed)")
        } catch let error as FieldsealError where [.invalidArgument, .requestQuotaExceeded].contains(error.code) {
            return again(visit.texts.told(error.message), .init(code: error.code.httpStatus))
        }
    }
}
