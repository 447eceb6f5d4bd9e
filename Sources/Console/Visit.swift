import Authentication
import Foundation
import HTTPTypes
import Hummingbird
import Model
import Tenancy
import WebAPI

/// One request to a page, with its sender.
struct Visit: Sendable {
    let organization: String
    let request: Request
    let parameters: Parameters
    let address: String?
    let requestID: String
    let texts: Texts
    var organizationRecord: Organization?
    var form: [String: String] = [:]
    /// The files in a form.
    var files: [UploadedFile] = []
    var hold: HeldUploads.Hold?
    /// The session's token, once it is verified.
    var token: String?
    var signed: ConsoleSessions.AuthenticatedUser?
    /// The token of the session's forms.
    var csrf: String?
    /// Passes the caller to the log.
    var principal: APIContext.Principal?

    var root: String { organization.isEmpty ? "" : "/\(organization)" }

    func text(_ key: String) -> String { texts[key] }
    func text(_ key: String, _ values: [String: String]) -> String { texts.text(key, values) }

    /// The session of the person who is signed in.
    func session() throws(FieldsealError) -> Session {
        guard let signed else { throw FieldsealError(.accessDenied, "No person is signed in.") }
        return signed.session
    }

    var role: Role { signed?.session.caller.role ?? .basicUser }
    var roles: RoleSet { signed?.session.caller.roles ?? RoleSet(Role.basicUser) }
    var isAdministrator: Bool { role == .systemAdministrator }

    /// A part of the path that the route names.
    func parameter(_ name: String) -> String? { parameters.get(name) }

    /// The parameters of the address, decoded as in forms: `+` is a space.
    var queries: [(name: String, value: String)] {
        (request.uri.query ?? "").split(separator: "&").prefix(Self.queryLimit).compactMap(Self.parameter)
    }

    /// How many parameters an address has at most.
    static let queryLimit = 200

    /// One parameter of an address, decoded; nil when it is not in UTF-8 or contains U+0000.
    static func parameter(_ pair: Substring) -> (name: String, value: String)? {
        let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        func decoded(_ text: Substring) -> String? { text.replacing("+", with: " ").removingPercentEncoding }
        guard let name = decoded(parts[0]), let value = parts.count == 2 ? decoded(parts[1]) : "", !value.utf8.contains(0) else {
            return nil
        }
        return (name, value)
    }

    func query(_ name: String) -> String? { queries.last { $0.name == name }?.value }

    /// A typed filter text, trimmed; nil when empty. ``check(_:)`` refuses texts that are too long.
    func filter(_ name: String) -> String? {
        // Some keyboards type a letter and its accent as two characters. The stored texts, among which the filter searches,
        // have one character for both.
        let text = (query(name) ?? "").trimmingCharacters(in: .whitespacesAndNewlines).precomposedStringWithCanonicalMapping
        return text.isEmpty ? nil : text
    }

    /// The address to open after signing in: this page with its query. Empty if this is no page to return to.
    var then: String {
        let path = String(request.uri.path.dropFirst(root.count + 1))
        guard Self.isPath(path) else { return "" }
        let query = request.uri.query.map { "?\($0)" } ?? ""
        return (path + (query.utf8.count <= 500 ? query : "")).addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
    }

    private static func isPath(_ path: some StringProtocol) -> Bool {
        path.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-/.".contains($0)) }
            && !path.split(separator: "/", omittingEmptySubsequences: false).contains("..")
    }

    static let cookieName = "__Host-fieldseal"

    var cookie: String? { cookie(Self.cookieName) }

    /// The cookie of a provider sign-in, kept until the browser returns from the provider.
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

    /// The cookie is Lax, because a browser that comes from another site would not send a stricter cookie.
    static func attemptCookie(_ value: String?) -> String {
        "\(attemptCookieName)=\(value ?? ""); Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=\(value == nil ? 0 : OpenIDSignIn.patience)"
    }

    /// The page of this organization that a form or an address names, with its query; the overview if it names no valid page.
    static func page(_ name: String?) -> String {
        guard let name, !name.isEmpty, !name.hasPrefix("/"), name.utf8.count <= 700 else { return "overview" }
        let parts = name.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard isPath(parts[0]) else { return "overview" }
        guard parts.count == 2 else { return name }
        let allowed = "-._~!$'()*,;:@/?=&%+"
        guard parts[1].allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || allowed.contains($0)) }) else {
            return String(parts[0])
        }
        return name
    }

    /// The fields of an `application/x-www-form-urlencoded` body (WHATWG URL section 5.1). If a field occurs twice, its last
    /// value is used.
    ///
    /// - Throws: ``FieldsealError`` for a form that can't be read whole, because leaving a part out would lose typed values.
    static func form(_ bytes: some Sequence<UInt8>) throws(FieldsealError) -> [String: String] {
        do {
            var fields: [String: String] = [:]
            for (name, value) in try FormFields.read(bytes, limit: fieldLimit) { fields[name] = value }
            return fields
        } catch {
            switch error {
            case .tooManyFields: throw FieldsealError(.badRequest, "The form has too many fields. Nothing was saved.")
            case .notUTF8: throw FieldsealError(.badRequest, "The form is not in UTF-8. Nothing was saved.")
            case .zero(let field):
                throw FieldsealError(
                    .invalidArgument, "\(field ?? "A field's name") can't hold the character U+0000. Nothing was saved.")
            }
        }
    }

    /// How many fields a form has at most.
    static let fieldLimit = 500

    /// The field that names files which were sent but not kept. The person must choose these files again.
    static let lostFilesField = "files.lost"

    /// The values of every template.
    func common() -> [String: Any] {
        var values: [String: Any] = [
            "t": texts.messages, "organization": organization.isEmpty ? false as Any : organization, "root": root,
            "language": texts.language, "locale": text("format:locale"), "title": "", "colon": text("format:colon"),
            "isAnswer": request.method == .post, "answerAt": "",
            "home": signed == nil ? (organization.isEmpty ? "/" : "\(root)/sign-in") : "\(root)/overview",
        ]
        if let csrf, let signed {
            values["csrf"] = csrf
            values["user"] = signed.name
            values["userRole"] = text("role:\(role.rawValue)")
        }
        return values
    }

    func message(_ title: String, _ body: String, status: HTTPResponse.Status) -> PageResponse {
        var values: [String: Any] = ["title": text(title), "text": texts.told(body)]
        if signed != nil { values["back"] = "\(root)/overview" }
        return .page("message", values, status: status)
    }
}
