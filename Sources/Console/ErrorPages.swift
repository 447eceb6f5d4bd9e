import Authentication
import HTTPTypes
package import Hummingbird
import Model
import Tenancy
package import WebAPI

// The pages for addresses without a page, and for errors outside of the pages.
extension Console {
    /// The first segments below an organization in addresses for programs, which get the API's response.
    private static let programs: Set<Substring> = [
        "api", "oauth2", "discovery", ".well-known", "v2.0", "adfs", "XRMServices", "assets",
    ]

    /// Whether a browser asks for a page.
    private static func isForPage(_ request: Request, _ context: APIContext) -> Bool {
        guard request.headers[.accept]?.contains("text/html") == true else { return false }
        let segments = request.uri.path.split(separator: "/")
        // The name of an organization may be one of ``programs``.
        let isNamed = segments.first.map { $0 == context.address?.organization ?? "" && !Organization.isOfService(String($0)) }
        return !segments.prefix(2).dropFirst(isNamed == true ? 1 : 0).contains(where: programs.contains)
    }

    /// A page for missing addresses. Programs get the API's response instead.
    func addMissingPage(to router: Router<APIContext>) {
        for method in [HTTPRequest.Method.get, .post] {
            router.on(":organization/**", method: method) { request, context in
                guard Self.isForPage(request, context), request.uri.path.split(separator: "/").count > 1 else {
                    throw HTTPError(.notFound)
                }
                // The body of a form is not read, because no page at this address accepts a form.
                return try await respond(request, context, .get) { visit in
                    visit.message("notFound", visit.text("notFoundWhy"), status: .notFound)
                }
            }
        }
    }

    /// Adds a page for forms that are sent to addresses which accept no form. All other routes must have been added before.
    func addRefusedForms(to router: Router<APIContext>) {
        let forms = Set(router.routes.filter { $0.method == .post }.map { "\($0.path)" })
        for route in router.routes where route.method == .get && !forms.contains("\(route.path)") {
            let segments = "\(route.path)".split(separator: "/")
            guard segments.first == "{organization}", !segments.dropFirst().prefix(1).contains(where: Self.programs.contains) else {
                continue
            }
            router.on(route.path, method: .post) { request, context in
                var response = try await respond(request, context, .get) { visit in
                    visit.message("wentWrong", visit.text("takesNoForm"), status: .methodNotAllowed)
                }
                response.headers[.allow] = "GET, HEAD"
                return response
            }
        }
    }

    /// The page for an error outside of the pages, such as that of a busy server.
    ///
    /// - Returns: Nil if the request is not a browser's request for a page.
    @Sendable package func errorPage(_ request: Request, _ context: APIContext, message: String, answer: Response) -> Response? {
        guard Self.isForPage(request, context), [.get, .head, .post].contains(request.method) else { return nil }
        let visit = Visit(
            organization: context.address?.organization ?? "", request: request, parameters: context.parameters,
            address: context.clientAddress, requestID: context.requestID, texts: files.texts(request.headers[.acceptLanguage]))
        let isLater = answer.headers[.retryAfter] != nil
        let title = answer.status == .notFound ? "notFound" : isLater ? "tryLater" : "wentWrong"
        var reply = visit.message(title, message, status: answer.status)
        if isLater, request.method != .post, case .page(let template, var values, let status) = reply.content {
            values["again"] = request.uri.string
            reply.content = .page(template, values, status)
        }
        var response = response(to: reply, visit)
        for name in [HTTPField.Name.retryAfter, .allow, .connection] { response.headers[name] = answer.headers[name] }
        return response
    }
}
