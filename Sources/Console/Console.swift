import CellCrypto
public import Fieldseal
import Foundation
import HTTPTypes
public import Hummingbird
import Logging
import Mustache
import NIOCore
import PostgresClient
public import WebAPI

/// The pages that administrators work with, under `/{organization}/`. They are whole without script; every one is made here, and
/// everything in it is escaped by the template engine.
public struct Console: Sendable {
    let deployment: Deployment
    let baseURL: String
    let files: ConsoleFiles
    let sessions: ConsoleSessions
    let openID: OpenIDSignIn
    let doctor: Doctor

    /// - Parameters:
    ///   - baseURL: The service's address, without a trailing slash: forms come from there alone.
    ///   - providers: Where people may sign in too.
    ///   - doctor: Says what needs attention.
    public init(_ deployment: Deployment, baseURL: String, providers: OpenIDProviders, doctor: Doctor) throws {
        self.deployment = deployment
        self.baseURL = baseURL
        files = try ConsoleFiles()
        sessions = ConsoleSessions(deployment)
        openID = OpenIDSignIn(deployment, providers: providers)
        self.doctor = doctor
    }

    /// Adds the console's routes.
    public func add(to router: Router<APIContext>) {
        let files = files
        router.get("assets/console.css") { _, _ in Self.asset(files.style, "text/css; charset=utf-8") }
        router.get("assets/console.js") { _, _ in Self.asset(files.script, "text/javascript; charset=utf-8") }
        get(router, "") { .redirect("\($0.root)/overview") }
        open(router, .get, "sign-in", signInPage)
        open(router, .post, "sign-in", signIn)
        open(router, .get, "sign-in/with/:issuer", signInElsewhere)
        open(router, .get, "sign-in/back", signInFromElsewhere)
        post(router, "sign-out", signOut)
        post(router, "fresh", freshen)
        get(router, "overview", overview)
        get(router, "events.jsonl", exportEvents)
        get(router, "settings/data-encryption", encryption)
        get(router, "settings/data-encryption/progress", progress)
        post(router, "settings/data-encryption/strength", strength)
        post(router, "settings/data-encryption/key", showKey)
        post(router, "settings/data-encryption/change", changeKey)
        post(router, "settings/data-encryption/activate", activate)
        get(router, "audit", audit)
        get(router, "account", account)
        post(router, "account/:action", changeAccount)
        get(router, "access", access)
        post(router, "access/:action", changeAccess)
        get(router, "records/:set", list)
        get(router, "records/:set/:id", form)
        post(router, "records/:set/:id", save)
        post(router, "records/:set/:id/delete", delete)
        addMissingPage(to: router)
    }

    /// A page for what is not there, but for programs, which are told so in their own way.
    private func addMissingPage(to router: Router<APIContext>) {
        let programs: Set<Substring> = ["api", "oauth2", "discovery", ".well-known", "v2.0"]
        router.get(":organization/**") { request, context in
            let segments = request.uri.path.split(separator: "/")
            let isPage = request.headers[.accept]?.contains("text/html") == true
            guard isPage, segments.count > 1, !programs.contains(segments[1]) else { throw HTTPError(.notFound) }
            return try await respond(request, context, .get) { visit in visit.message("notFound", "", status: .notFound) }
        }
    }

    private typealias Handler = @Sendable (Visit) async throws -> Reply

    private func get(_ router: Router<APIContext>, _ path: String, _ body: @escaping Handler) {
        open(router, .get, path) { visit in
            guard visit.signed != nil else { return .redirect("\(visit.root)/sign-in?then=\(visit.then)") }
            return try await body(visit)
        }
    }

    /// A form of a signed-in person, with the token that only their pages have.
    private func post(_ router: Router<APIContext>, _ path: String, _ body: @escaping Handler) {
        open(router, .post, path) { visit in
            guard let token = visit.token, visit.signed != nil else { return .redirect("\(visit.root)/sign-in") }
            guard constantTimeEqual(Array((visit.form["csrf"] ?? "").utf8), Array(try Self.csrf(token).utf8)) else {
                return visit.message("wentWrong", visit.text("forged"), status: .forbidden)
            }
            return try await body(visit)
        }
    }

    private func open(_ router: Router<APIContext>, _ method: HTTPRequest.Method, _ path: String, _ body: @escaping Handler) {
        router.on(path.isEmpty ? ":organization" : ":organization/\(RouterPath(path))", method: method) { request, context in
            try await respond(request, context, method, body)
        }
    }

    private func respond(_ request: Request, _ context: APIContext, _ method: HTTPRequest.Method, _ body: Handler) async throws
        -> Response
    {
        let language = files.language(request.headers[.acceptLanguage])
        var visit = Visit(
            organization: context.parameters.get("organization") ?? "", request: request, parameters: context.parameters,
            address: context.clientAddress, requestID: context.requestID, language: language,
            messages: files.messages[language] ?? [:])
        visit.principal = context.principal
        let reply: Reply
        do {
            reply = try await answer(&visit, method, body)
        } catch let error as FieldsealError
            where error.code == .noResource && request.headers[.accept]?.contains("text/html") != true
        {
            // A program took a wrong address: it is told in its own way.
            throw error
        } catch {
            reply = failure(error, visit, context)
        }
        return response(to: reply, visit)
    }

    private func answer(_ visit: inout Visit, _ method: HTTPRequest.Method, _ body: Handler) async throws -> Reply {
        // A foreign name that resolves to this server must not see its pages (DNS rebinding).
        guard visit.request.head.authority.map({ "https://\($0)".lowercased() == baseURL.lowercased() }) ?? false else {
            return visit.message("wrongHost", baseURL, status: .misdirectedRequest)
        }
        // Nothing is told of organizations that are not there.
        visit.organizationRecord = try await Session.organization(named: visit.organization, in: deployment)
        if method == .post {
            // Browsers say where a form comes from (RFC 6454 section 7); SameSite keeps the cookie from others besides.
            guard visit.request.headers[.origin].map({ $0.lowercased() == baseURL.lowercased() }) ?? false else {
                return visit.message("wentWrong", visit.text("forged"), status: .forbidden)
            }
            let buffer = try await visit.request.body.collect(upTo: 1 << 18)
            visit.form = try Visit.form(buffer.readableBytesView)
        }
        if let token = visit.cookie {
            visit.signed = try await sessions.session(
                token, organization: visit.organization, address: visit.address, requestID: visit.requestID)
            if visit.signed != nil { visit.token = token }
        }
        guard let caller = visit.signed?.session.caller else { return try await body(visit) }
        visit.principal?.name = caller.actor
        // A signed-in person counts for themselves, and not for the network.
        let signedIn = visit
        return try await PoolBorrower.$current.withValue(caller.systemUserID.map { .principal($0) }) { try await body(signedIn) }
    }

    /// What a person is told of an error, and never more than he may know.
    private func failure(_ error: any Error, _ visit: Visit, _ context: APIContext) -> Reply {
        switch error {
        case let error as FieldsealError where error.code == .noResource || error.code == .objectDoesNotExist:
            return visit.message("notFound", error.message, status: .notFound)
        case let error as FieldsealError:
            return visit.message("wentWrong", error.message, status: .init(code: error.code.httpStatus))
        case is NIOTooManyBytesError: return visit.message("wentWrong", "", status: .contentTooLarge)
        case let error as PostgresError where error.isTold:
            context.logger.error("page failed", metadata: ["error": "\(error)"])
            return visit.message("wentWrong", error.refusal.message, status: .init(code: error.refusalStatus))
        case is PoolError:
            return visit.message("wentWrong", FieldsealError.databaseAway.message, status: .serviceUnavailable)
        default:
            context.logger.error("page failed", metadata: ["error": "\(error)"])
            return visit.message("wentWrong", visit.requestID, status: .internalServerError)
        }
    }

    private func response(to reply: Reply, _ visit: Visit) -> Response {
        var headers: HTTPFields = [
            .contentSecurityPolicy:
                "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
                + "base-uri 'none'; frame-ancestors 'none'",
            .cacheControl: "no-store", .referrerPolicy: "same-origin", .xFrameOptions: "DENY",
            .crossOriginOpenerPolicy: "same-origin",
            .vary: "Accept-Language, Cookie",
        ]
        for cookie in reply.cookies { headers.append(HTTPField(name: .setCookie, value: cookie)) }
        var status = HTTPResponse.Status.ok
        var body: [UInt8] = []
        switch reply.content {
        case .page(let template, let values, let code):
            var values = values.merging(visit.common()) { own, _ in own }
            values["navigation"] = navigation(visit)
            status = code
            headers[.contentType] = "text/html; charset=utf-8"
            body = Array((files.templates.render(values, withTemplate: template) ?? "").utf8)
        case .redirect(let path):
            status = .seeOther
            headers[.location] = path
        case .json(let value):
            headers[.contentType] = "application/json; charset=utf-8"
            body = value.utf8
        case .download(let name, let type, let bytes):
            headers[.contentType] = type
            headers[.contentDisposition] = "attachment; filename=\"\(name)\""
            body = bytes
        case .stream(let name, let type, let write):
            headers[.contentType] = type
            headers[.contentDisposition] = "attachment; filename=\"\(name)\""
            return Response(
                status: status, headers: headers,
                body: .init { writer in
                    try await write { try await writer.write(ByteBuffer(bytes: $0)) }
                    try await writer.finish(nil)
                })
        }
        return Response(status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: body)))
    }

    private func navigation(_ visit: Visit) -> [[String: Any]] {
        guard let signed = visit.signed else { return [] }
        let isAdministrator = signed.session.caller.role == .systemAdministrator
        var items = [("overview", "overview")]
        items += (Self.sets + Self.shownSets).filter {
            PrivilegeTable.depth(of: .retrieveMultiple, on: $0, for: signed.session.caller.role) != .none
        }
        .map { ("records/\($0.entitySetName)", $0.logicalName) }
        if isAdministrator { items += [("settings/data-encryption", "dataEncryption"), ("audit", "audit"), ("access", "access")] }
        let current = visit.request.uri.path.dropFirst(visit.root.count + 1)
        return items.map { path, text in
            ["href": "\(visit.root)/\(path)", "text": visit.text(text), "current": current.hasPrefix(path)]
        }
    }

    /// The entities that have forms.
    static let sets = EntityCatalog.all.filter { !$0.encryptedAttributes.isEmpty }
    /// The entities that are looked at and deleted here, and written by the router and by programs.
    static let shownSets: [EntityDefinition] = [.email, .traceLog]

    private static func asset(_ bytes: [UInt8], _ type: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: type, .cacheControl: "public, max-age=3600"],
            body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    /// What a session's forms carry: it is made of the session's token, which no script and no other site can read.
    static func csrf(_ token: String) throws -> String {
        Data(try sha256(Array("form \(token)".utf8))).base64EncodedString().filter { $0.isLetter || $0.isNumber }
    }
}

/// What a page answers.
struct Reply {
    enum Content {
        case page(String, [String: Any], HTTPResponse.Status)
        case redirect(String)
        case json(JSONValue)
        case download(name: String, type: String, [UInt8])
        /// A download that is written in parts, each of which is sent before the next is read.
        case stream(name: String, type: String, @Sendable (_ write: ([UInt8]) async throws -> Void) async throws -> Void)
    }

    var content: Content
    var cookies: [String] = []

    static func page(_ template: String, _ values: [String: Any], status: HTTPResponse.Status = .ok) -> Reply {
        Reply(content: .page(template, values, status))
    }

    static func redirect(_ path: String, cookie: String? = nil) -> Reply {
        Reply(content: .redirect(path), cookies: cookie.map { [$0] } ?? [])
    }
    static func json(_ value: JSONValue) -> Reply { Reply(content: .json(value)) }
}

/// One request to a page, and who sent it.
struct Visit: Sendable {
    let organization: String
    let request: Request
    let parameters: Parameters
    let address: String?
    let requestID: String
    let language: String
    let messages: [String: String]
    var organizationRecord: Organization?
    var form: [String: String] = [:]
    /// The session's token, once it is known to be one.
    var token: String?
    var signed: ConsoleSessions.Signed?
    /// Where the log finds who asked.
    var principal: APIContext.Principal?

    var root: String { "/\(organization)" }

    func text(_ key: String) -> String { messages[key] ?? key }

    /// The session of the person who is signed in.
    func session() throws(FieldsealError) -> Session {
        guard let signed else { throw FieldsealError(.accessDenied, "Nobody is signed in.") }
        return signed.session
    }

    /// A part of the path that the route names.
    func parameter(_ name: String) -> String? { parameters.get(name) }

    func query(_ name: String) -> String? { request.uri.queryParameters[Substring(name)].map { String($0) } }

    /// Where to go after signing in: a path of this organization, or nothing.
    var then: String {
        let path = String(request.uri.path.dropFirst(root.count + 1))
        return path.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-/".contains($0)) } ? path : ""
    }

    static let cookieName = "__Host-fieldseal"

    var cookie: String? { cookie(Self.cookieName) }

    /// What a sign-in through a provider is remembered by until the browser comes back from there.
    static let attemptCookieName = "__Host-fieldseal-attempt"

    func cookie(_ name: String) -> String? {
        for part in (request.headers[.cookie] ?? "").split(separator: ";") {
            let pair = part.trimmingPrefix(" ").split(separator: "=", maxSplits: 1)
            if pair.count == 2, pair[0] == name, pair[1].utf8.count <= 500 { return String(pair[1]) }
        }
        return nil
    }

    static func cookie(_ token: String?) -> String {
        "\(cookieName)=\(token ?? ""); Path=/; Secure; HttpOnly; SameSite=Strict" + (token == nil ? "; Max-Age=0" : "")
    }

    /// Lax, since a browser that comes from another site would not send it otherwise.
    static func attemptCookie(_ value: String?) -> String {
        "\(attemptCookieName)=\(value ?? ""); Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=\(value == nil ? 0 : OpenIDSignIn.patience)"
    }

    /// A page of this organization that a form or an address names; the overview for anything else.
    static func page(_ name: String?) -> String {
        guard let name, !name.isEmpty, !name.hasPrefix("/"), name.utf8.count <= 200,
            name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-/".contains($0)) })
        else { return "overview" }
        return name
    }

    /// The fields of an `application/x-www-form-urlencoded` body (WHATWG URL section 5.1); a field that comes twice has its last value.
    ///
    /// - Throws: ``FieldsealError`` for a form that can't be read whole: leaving a part of it out would lose what was typed.
    static func form(_ bytes: some Sequence<UInt8>) throws(FieldsealError) -> [String: String] {
        func decoded(_ text: Substring, in field: String) throws(FieldsealError) -> String {
            guard let text = text.replacing("+", with: " ").removingPercentEncoding else {
                throw FieldsealError(.badRequest, "The form is not in UTF-8. Nothing was saved.")
            }
            guard !text.utf8.contains(0) else {
                throw FieldsealError(.invalidArgument, "\(field) can't hold the character U+0000. Nothing was saved.")
            }
            return text
        }
        guard let body = String(validating: Array(bytes), as: UTF8.self) else {
            throw FieldsealError(.badRequest, "The form is not in UTF-8. Nothing was saved.")
        }
        var fields: [String: String] = [:]
        let pairs = body.split(separator: "&")
        guard pairs.count <= 500 else { throw FieldsealError(.badRequest, "The form has too many fields. Nothing was saved.") }
        for pair in pairs {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = try decoded(parts[0], in: "A field's name")
            fields[name] = parts.count == 2 ? try decoded(parts[1], in: name) : ""
        }
        return fields
    }

    /// What every template may use.
    func common() -> [String: Any] {
        var values: [String: Any] = ["t": messages, "organization": organization, "language": language, "title": ""]
        if let token { values["csrf"] = try? Console.csrf(token) }
        if let signed { values["user"] = signed.name }
        return values
    }

    func message(_ title: String, _ body: String, status: HTTPResponse.Status) -> Reply {
        .page("message", ["title": text(title), "text": body], status: status)
    }

    func day(_ date: Date) -> String { String(ISO8601.text(date).prefix(10)) }
    func moment(_ date: Date) -> String { ISO8601.text(date).prefix(16).replacing("T", with: " ") + " UTC" }
}

extension HTTPField.Name {
    static let referrerPolicy = HTTPField.Name("Referrer-Policy") ?? .referer
    static let xFrameOptions = HTTPField.Name("X-Frame-Options") ?? .referer
    static let crossOriginOpenerPolicy = HTTPField.Name("Cross-Origin-Opener-Policy") ?? .referer
}
