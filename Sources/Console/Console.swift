package import Authentication
import CellCrypto
package import Diagnostics
package import Email
import Foundation
import HTTPTypes
import Hummingbird
import JSON
import Logging
import Model
import Mustache
import NIOCore
import PostgresClient
package import Tenancy
import WebAPI

/// The pages for administrators, under `/{organization}/`. The pages work without JavaScript. The server renders every page, and
/// the template engine escapes every value in it.
package struct Console: Sendable {
    let deployment: Deployment
    let mail: MailOAuthTokens
    let baseURL: String
    let files: ConsoleFiles
    let sessions: ConsoleSessions
    let openID: OpenIDSignIn
    let doctor: Doctor
    let retention: RetentionRules
    let figures = RecentResults<OverviewFigures>(leastLifetime: 60, patience: .seconds(2))
    let counts = RecentResults<MailboxCounts>(patience: .seconds(2))
    let uploads = HeldUploads(personLimit: heldOfPerson, limit: heldOfAll)
    let waitingForms = WaitingForms()
    let findings = RecentResults<[Finding]>(patience: .milliseconds(250))

    /// - Parameters:
    ///   - mail: The applications that are registered for mail servers.
    ///   - baseURL: The service's address, without a trailing slash. Forms must come from this address.
    ///   - providers: The OpenID providers.
    ///   - doctor: Reports what needs attention.
    ///   - retention: How long evidence and e-mails are kept.
    package init(
        _ deployment: Deployment, mail: MailOAuthTokens, baseURL: String, providers: OpenIDProviders, doctor: Doctor,
        retention: RetentionRules
    ) throws {
        self.deployment = deployment
        self.mail = mail
        self.baseURL = baseURL
        files = try ConsoleFiles()
        sessions = ConsoleSessions(deployment)
        openID = OpenIDSignIn(deployment, providers: providers)
        self.doctor = doctor
        self.retention = retention
    }

    typealias Handler = @Sendable (Visit) async throws -> PageResponse

    func respond(_ request: Request, _ context: APIContext, _ method: HTTPRequest.Method, _ body: Handler) async throws -> Response
    {
        var visit = Visit(
            organization: context.parameters.get("organization") ?? "", request: request, parameters: context.parameters,
            address: context.clientAddress, requestID: context.requestID,
            texts: files.texts(request.headers[.acceptLanguage]))
        visit.principal = context.principal
        let reply: PageResponse
        do {
            reply = try await answer(&visit, method, refusal: context.refusal, body)
        } catch let error as FieldsealError
            where error.code == .noResource && request.headers[.accept]?.contains("text/html") != true
        {
            // A program used a wrong address. The program gets the API's response.
            throw error
        } catch let error where RequestFraming.isBroken(error) {
            // No browser sends a request with broken framing. The end of the request is unknown, so the connection is closed.
            throw error
        } catch {
            reply = failure(error, visit, context)
        }
        // Rendering a long text takes so long that it would delay other clients.
        return reply.isLong ? await Self.inBackground { response(to: reply, visit) } : response(to: reply, visit)
    }

    private func answer(
        _ visit: inout Visit, _ method: HTTPRequest.Method, refusal: FieldsealError?, _ body: Handler
    ) async throws -> PageResponse {
        // A foreign host name may resolve to this server (DNS rebinding). Requests for that name must not get this server's
        // pages.
        guard visit.request.head.authority.map({ "https://\($0)".lowercased() == baseURL.lowercased() }) ?? false else {
            return visit.message("wrongHost", baseURL, status: .misdirectedRequest)
        }
        if let refusal { throw refusal }
        // The page for choosing an organization belongs to no organization.
        guard !visit.organization.isEmpty else { return try await body(visit) }
        // For an unknown organization the response is 404, as for an unknown page.
        visit.organizationRecord = try await Session.organization(named: visit.organization, in: deployment)
        if method == .post {
            // Browsers send the origin of a form (RFC 6454 section 7). SameSite also keeps the cookie from other sites.
            guard visit.request.headers[.origin].map({ $0.lowercased() == baseURL.lowercased() }) ?? false else {
                return visit.message("wentWrong", visit.text("forged"), status: .forbidden)
            }
        }
        let boundary = method == .post ? MultipartForm.boundary(visit.request.headers[.contentType]) : nil
        if method == .post, boundary == nil { try await readForm(&visit) }
        if let token = visit.cookie { try await sign(&visit, with: token) }
        if let boundary { try await readFiles(&visit, boundary) }
        guard let caller = visit.signed?.session.caller else { return try await body(visit) }
        if let reply = try await firstStep(visit) { return reply }
        visit.principal?.name = caller.actor
        // Limits count a signed-in person by their own account, not by the network.
        let signedIn = visit
        return try await PoolBorrower.$current.withValue(caller.systemUserID.map { .principal($0) }) {
            try await asking(signedIn, method, body)
        }
    }

    /// If a form needs a question, redirects to the page with the question.
    private func asking(_ visit: Visit, _ method: HTTPRequest.Method, _ body: Handler) async throws -> PageResponse {
        guard let signed = visit.signed else { return try await body(visit) }
        let (asked, path) = (AskedPage(deployment.kek, signed), visit.request.uri.path)
        if method == .post { return try asked.led(try await body(visit), at: path) }
        guard let sealed = visit.query(AskedPage.parameter) else { return try await body(visit) }
        return asked.page(sealed, at: path) ?? .redirect(path)
    }

    /// Finds the session of a token.
    func sign(_ visit: inout Visit, with token: String) async throws {
        visit.signed = try await sessions.session(
            token, organization: visit.organization, address: visit.address, requestID: visit.requestID)
        visit.token = visit.signed == nil ? nil : token
        visit.csrf = try visit.signed.map { try formToken($0.session.organization).text(token, $0.userID) }
    }

    /// The message of an error for a person. The message reveals no more than the person may know.
    private func failure(_ error: any Error, _ visit: Visit, _ context: APIContext) -> PageResponse {
        switch error {
        case let error as FieldsealError where error.code == .noResource || error.code == .objectDoesNotExist:
            return visit.message("notFound", error.message, status: .notFound)
        case let error as FieldsealError where error.code == .privilegeDenied || error.code == .accessDenied:
            return visit.message("noAccess", visit.text("noAccessWhy"), status: .init(code: error.code.httpStatus))
        case let error as FieldsealError where error.code == .approvalAwaited:
            return visit.message("awaitsApproval", error.message, status: .init(code: error.code.httpStatus))
        case is NIOTooManyBytesError: return visit.message("wentWrong", visit.text("tooMuchTyped"), status: .contentTooLarge)
        case is CancellationError:
            // The client has disconnected, so no person reads this message.
            return visit.message("tryLater", "The request was called off.", status: .serviceUnavailable)
        default:
            if error is PostgresError {
                context.logger.error("a statement failed in the database", metadata: ["error": "\(error)"])
            }
            if let (message, status) = Self.refusal(error) { return visit.message("wentWrong", message, status: status) }
            context.logger.error("page failed", metadata: ["error": "\(error)"])
            return visit.message(
                "wentWrong", visit.text("internalError", ["id": visit.requestID]), status: .internalServerError)
        }
    }

    /// The message of an error that is not a defect of the program.
    static func refusal(_ error: any Error) -> (message: String, status: HTTPResponse.Status)? {
        switch error {
        case let error as FieldsealError where error.code == .unexpected && error.retryAfter != nil:
            (error.message, .serviceUnavailable)
        case let error as FieldsealError: (error.message, .init(code: error.code.httpStatus))
        case let error as PostgresError where error.isTold: (error.refusal.message, .init(code: error.refusalStatus))
        case PoolError.exhausted: (FieldsealError.connectionsBusy.message, .serviceUnavailable)
        case is PoolError: (FieldsealError.databaseAway.message, .serviceUnavailable)
        default: nil
        }
    }

    private static let pagePolicy =
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
        + "frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    /// The policy for content that others wrote, such as e-mails: no script, no form, nothing from other servers. Only pages of
    /// this console may show this content in a frame.
    private static let foreignPolicy =
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'; "
        + "sandbox allow-popups"

    func response(to reply: PageResponse, _ visit: Visit) -> Response {
        var headers: HTTPFields = [
            .contentSecurityPolicy: Self.pagePolicy,
            .cacheControl: "no-store", .referrerPolicy: "same-origin", .xFrameOptions: "DENY",
            .crossOriginOpenerPolicy: "same-origin",
            .vary: "Accept-Language, Cookie",
        ]
        for cookie in reply.cookies { headers.append(HTTPField(name: .setCookie, value: cookie)) }
        var status = HTTPResponse.Status.ok
        var body: [UInt8] = []
        switch reply.content {
        case .page(let template, let values, let code):
            status = code
            headers[.contentType] = "text/html; charset=utf-8"
            body = Array(page(template, values, visit).utf8)
        case .redirect(let path):
            status = .seeOther
            headers[.location] = path
        case .json(let value):
            headers[.contentType] = "application/json; charset=utf-8"
            body = value.utf8
        case .foreign(let html):
            headers[.contentSecurityPolicy] = Self.foreignPolicy
            headers[.xFrameOptions] = "SAMEORIGIN"
            headers[.referrerPolicy] = "no-referrer"
            // The names of other servers are not looked up before a person follows a link.
            headers[.dnsPrefetchControl] = "off"
            headers[.contentType] = "text/html; charset=utf-8"
            body = html
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

    /// Renders a template with its values and with the values of every page.
    func page(_ template: String, _ values: [String: Any], _ visit: Visit) -> String {
        var values = values.merging(visit.common()) { own, _ in own }
        values["navigation"] = Navigation.groups(visit)
        values["waiting"] = offers(template, values, visit)
        return files.templates.render(values, withTemplate: template) ?? ""
    }

    /// Makes the tokens for forms in an organization.
    func formToken(_ organization: Organization) -> FormToken {
        FormToken(deployment.kek, organization: organization.id)
    }
}

extension FieldsealError {
    /// An address without a page.
    static let noPage = FieldsealError(.noResource, "There is nothing at this address.")
}

extension HTTPField.Name {
    static let referrerPolicy = HTTPField.Name("Referrer-Policy") ?? .referer
    static let xFrameOptions = HTTPField.Name("X-Frame-Options") ?? .referer
    static let crossOriginOpenerPolicy = HTTPField.Name("Cross-Origin-Opener-Policy") ?? .referer
    static let dnsPrefetchControl = HTTPField.Name("X-DNS-Prefetch-Control") ?? .referer
}
