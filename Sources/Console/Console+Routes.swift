import Authentication
import CellCrypto
import Foundation
import HTTPTypes
package import Hummingbird
import JSON
import NIOCore
import Tenancy
package import WebAPI

// The routes of the console.
extension Console {
    /// Adds the console's routes.
    package func add(to router: Router<APIContext>) {
        // All responses share one copy of each file.
        let (style, script) = (ByteBuffer(bytes: files.style), ByteBuffer(bytes: files.script))
        let icon = ByteBuffer(bytes: files.icon)
        router.get("assets/console.css") { _, _ in Self.asset(style, "text/css; charset=utf-8") }
        router.get("assets/console.js") { _, _ in Self.asset(script, "text/javascript; charset=utf-8") }
        router.get("assets/favicon.svg") { _, _ in Self.asset(icon, "image/svg+xml") }
        router.get("favicon.ico") { _, _ in Self.asset(icon, "image/svg+xml") }
        router.get("/") { request, context in
            try await respond(request, context, .get) { visit in
                try visit.check([.text("organization")])
                return try await choose(visit)
            }
        }
        get(router, "") { .redirect("\($0.root)/overview") }
        addSignIn(to: router)
        get(router, "overview", overview)
        get(router, "events", Self.eventPageParameters + [Self.viewDone], events)
        get(router, "events.jsonl", Self.eventParameters, exportEvents)
        get(router, "events.csv", Self.eventParameters, exportEventTable)
        get(router, "audit", Self.auditPageParameters + [Self.viewDone], audit)
        get(router, "audit.csv", Self.auditParameters, exportAudit)
        get(router, "shortcuts", shortcuts)
        addEncryption(to: router)
        addAccess(to: router)
        addRecords(to: router)
        addMissingPage(to: router)
        addRefusedForms(to: router)
    }

    private func addSignIn(to router: Router<APIContext>) {
        open(
            router, .get, "sign-in", [.any("then"), .choice("invited", ["1"]), .choice("ended", ["1"]), .text("name")], signInPage)
        open(router, .post, "sign-in", signIn)
        open(router, .get, "sign-in/with/:issuer", [.any("then"), .choice("fresh", ["1"])], signInElsewhere)
        // Providers may add unknown parameters, which a client ignores (RFC 6749 section 4.1.2).
        open(router, .get, "sign-in/back", signInFromElsewhere)
        get(router, "sign-in/kept") { .redirect("\($0.root)/overview") }
        open(router, .post, "sign-in/kept", offerKept)
        open(router, .get, "invitation", [.any("token")], invitationPage)
        open(router, .post, "invitation", acceptInvitation)
        post(router, "sign-out", instead: "overview", signOut)
        post(router, "fresh", instead: "overview", reauthenticate)
        get(router, "account", [.choice("done", ["passwordDone", "sessionDone", "codesOff"])], account)
        post(router, "account/waits", instead: "account", accountMeanwhile)
        post(router, "account/drop", instead: "overview", dropWaiting)
        for action in ["offer", "confirm", "end", "codes", "password", "end-session"] {
            post(router, "account/\(action)", instead: "account") { try await changeAccount(action, $0) }
        }
    }

    private func addEncryption(to router: Router<APIContext>) {
        let path = "settings/data-encryption"
        get(router, "settings") { .redirect("\($0.root)/\(path)") }
        get(
            router, path,
            [.choice("done", Self.encryptionNotices)], encryption)
        get(router, "\(path)/progress", progress)
        get(router, "\(path)/change", [.choice("typed", ["1"])], changePage)
        post(router, "\(path)/strength", instead: "\(path)/change", strength)
        post(router, "\(path)/key", instead: "\(path)?done=keyNotKept", showKey)
        post(router, "\(path)/kept", instead: path, confirmCopy)
        post(router, "\(path)/gone", instead: path, acceptMissingKeys)
        post(router, "\(path)/change", instead: nil, changeKey)
        post(router, "\(path)/cancel", instead: path, cancelChange)
        post(router, "\(path)/activate", instead: path, activate)
        get(router, Self.approvalsPath, [.choice("done", ["approvedDone", "refusedDone"])], approvals)
        for action in Self.approvalActions {
            post(router, "\(Self.approvalsPath)/\(action)", instead: Self.approvalsPath) { try await decide(action, $0) }
        }
    }

    private func addAccess(to router: Router<APIContext>) {
        get(router, "access", [.text("q"), .choice("done", ["remove-user", "remove-client"])], access)
        get(router, "access/people/new", [.id("user")], newPerson)
        get(router, "access/clients/new") { .page("client-new", try newClientValues($0)) }
        let role = AddressParameter.choice("was", Role.allCases.map(\.rawValue))
        let counts = [AddressParameter.number("n", in: 0...Int.max), .number("failed", in: 0...Int.max)]
        let shown = AddressParameter.any(Self.shown)
        let ended = AddressParameter.choice("ended", ["password"])
        get(router, "access/people/:id", [Self.accessDone, role, ended, shown, .text(Self.heirParameter)] + counts, person)
        get(router, "access/clients/:id", [Self.accessDone, role, shown], client)
        get(router, "access/people/:id/reset", resetPage)
        for ending in AccessEnding.allCases {
            get(router, "access/people/:id/\(ending)") { try await confirmEnding(ending, $0, isPerson: true) }
            get(router, "access/clients/:id/\(ending)") { try await confirmEnding(ending, $0, isPerson: false) }
        }
        get(router, "access/rules", [.choice("done", ["rulesSaved", "nothingChanged"])], signInRules)
        post(router, "access/rules", instead: nil, saveSignInRules)
        post(router, "access/team", instead: "access", changeTeam)
        post(router, "access/user-without-sign-in", instead: "access", changeUserWithoutSignIn)
        get(router, "retention", retentionPage)
        for action in Self.accessActions {
            post(router, "access/\(action)", instead: "access") { try await changeAccess(action, $0) }
        }
    }

    private func addRecords(to router: Router<APIContext>) {
        get(router, "records") { .redirect("\($0.root)/overview") }
        get(router, "connect", [.choice("provider", files.providers.compactMap { $0["id"]?.string })], connectPage)
        post(router, "connect", instead: nil, connect)
        get(
            router, "lookup/:entity", [.text("q"), .choice("for", ["sending"]), .choice("also", Self.lookupsBesides)], suggestions)
        post(router, "views/keep", instead: "overview", keepView)
        post(router, "views/remove", instead: "overview", removeView)
        get(router, "records/:set", nil) { visit in
            try visit.check(Self.listParameters(try entity(visit)))
            return try await list(visit)
        }
        post(router, "records/:set/bulk", instead: "records/mailboxes", changeMany)
        get(router, "records/:set/export.csv", nil) { visit in
            try visit.check(Self.exportParameters(try entity(visit)))
            return try await exportRecords(visit)
        }
        get(router, "records/:set/:id", Self.recordParameters, form)
        post(router, "records/:set/:id", instead: nil, save)
        get(router, "records/:set/:id/delete", confirmDeletion)
        post(router, "records/:set/:id/delete", instead: nil, delete)
        post(router, "records/:set/:id/do", instead: "records/mailboxes", changeMailbox)
        get(router, "records/:set/:id/body", [Self.shape], emailBody)
        get(router, "records/:set/:id/attachments/:attachment", emailAttachment)
        for composing in Composing.allCases {
            get(router, composing.path, composing == .new ? [.id("from")] : []) { visit in
                try await Self.inBackground {
                    try await composePage(visit, composing, try await earlierEmail(for: composing, visit))
                }
            }
            post(router, composing.path, instead: nil) { visit in
                try await Self.inBackground {
                    try await sendEmail(visit, composing, try await earlierEmail(for: composing, visit))
                }
            }
        }
    }

    /// Adds a page for signed-in people whose address has no parameters.
    private func get(_ router: Router<APIContext>, _ path: String, _ body: @escaping Handler) { get(router, path, [], body) }

    /// Adds a page for signed-in people.
    ///
    /// - Parameter parameters: The parameters of its address; nil if the page checks them itself.
    private func get(
        _ router: Router<APIContext>, _ path: String, _ parameters: [AddressParameter]?, _ body: @escaping Handler
    ) {
        open(router, .get, path) { visit in
            guard visit.signed != nil else { return .redirect("\(visit.root)/sign-in?then=\(visit.then)") }
            if let parameters { try visit.check(parameters) }
            return try await body(visit)
        }
    }

    /// Adds a form for signed-in people. The form needs the token that only pages of signed-in people contain.
    ///
    /// - Parameter page: The page to show if the form's address is typed or reloaded; nil if there is a page at that address.
    private func post(_ router: Router<APIContext>, _ path: String, instead page: String?, _ body: @escaping Handler) {
        if let page { get(router, path, nil) { .redirect("\($0.root)/\(page)") } }
        open(router, .post, path) { visit in
            guard let signed = visit.signed else { return try await signInAgain(visit) }
            guard isOfSession(visit, signed) else { return try await formOfAnotherSession(visit, signed, body) }
            do {
                return try await resumed(visit, signed, body)
            } catch {
                guard let reply = try refusedByRole(error, Self.formPath(visit), visit) else { throw error }
                return reply
            }
        }
    }

    /// The page of a form, to return to after signing in.
    static func formPage(_ visit: Visit) -> String {
        guard let referer = HTTPField.Name("Referer").flatMap({ visit.request.headers[$0] }), let url = URL(string: referer),
            url.path.hasPrefix("\(visit.root)/")
        else { return "" }
        // If the form is on a page with a question, the page of the form that led to the question is used.
        let query = url.query.flatMap { $0.hasPrefix("\(AskedPage.parameter)=") ? nil : "?\($0)" } ?? ""
        let path = url.path.dropFirst(visit.root.count + 1) + query
        return String(path).addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
    }

    private func open(_ router: Router<APIContext>, _ method: HTTPRequest.Method, _ path: String, _ body: @escaping Handler) {
        open(router, method, path, nil, body)
    }

    /// - Parameter parameters: The parameters of the address; nil for any.
    private func open(
        _ router: Router<APIContext>, _ method: HTTPRequest.Method, _ path: String, _ parameters: [AddressParameter]?,
        _ body: @escaping Handler
    ) {
        router.on(path.isEmpty ? ":organization" : ":organization/\(RouterPath(path))", method: method) { request, context in
            try await respond(request, context, method) { visit in
                if let parameters { try visit.check(parameters) }
                return try await body(visit)
            }
        }
    }

    private static func asset(_ bytes: ByteBuffer, _ type: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: type, .cacheControl: "public, max-age=3600"],
            body: .init(byteBuffer: bytes))
    }

    /// The page on which a person enters an organization's name. The page says if there is no organization with this name. The page
    /// does not list organizations.
    @Sendable func choose(_ visit: Visit) async throws -> PageResponse {
        var values: [String: Any] = ["title": visit.text("chooseTitle")]
        guard let name = visit.filter("organization")?.lowercased() else { return .page("chooser", values) }
        if (try? await Session.organization(named: name, in: deployment)) != nil { return .redirect("/\(name)/sign-in") }
        values["name"] = name
        values["problem"] = visit.text("chooseUnknown", ["name": name])
        return .page("chooser", values, status: .notFound)
    }
}
