import Authentication
import CellCrypto
import Foundation
import HTTPTypes
import JSON
import Tenancy

/// A page with a question, which is the response to a form. The browser is redirected to this page, so that its Back button and a
/// reload show the question again.
///
/// The page's address contains its values, sealed for the person, for half an hour. Loading the page changes nothing.
struct AskedPage {
    private let kek: KeyEncryptionKey
    private let signed: ConsoleSessions.AuthenticatedUser

    /// The name of the address's parameter.
    static let parameter = "asked"
    /// The templates of pages that only ask. None of these pages shows a secret. A page that keeps a typed secret, even sealed,
    /// gets no address of its own: addresses are kept in histories and logs.
    private static let templates: Set<String> = ["confirm", "mailbox-question", "fresh"]
    /// How many bytes a sealed page has at most. Servers between the service and the browser accept addresses of 8 KiB.
    private static let limit = 6_000

    init(_ kek: KeyEncryptionKey, _ signed: ConsoleSessions.AuthenticatedUser) {
        self.kek = kek
        self.signed = signed
    }

    /// The redirect to a page with a question; the response itself if the response is no question, or is too large for an address.
    func led(_ reply: PageResponse, at path: String) throws -> PageResponse {
        guard case .page(let template, var values, let status) = reply.content, Self.templates.contains(template),
            !reply.hasNoAddress
        else { return reply }
        // The page gets the token of its own session when it is loaded.
        values["csrf"] = nil
        guard let json = JSONValue(ofTemplate: values) else { return reply }
        let fields = ["template": template, "status": "\(status.code)", "values": String(decoding: json.utf8, as: UTF8.self)]
        let sealed = try KeptForm(kek, askedOf: signed).sealed(fields, path: path)
        guard sealed.utf8.count <= Self.limit else { return reply }
        return .init(content: .redirect("\(path)?\(Self.parameter)=\(sealed)"), cookies: reply.cookies)
    }

    /// The page in an address; nil if it was sealed for another person, or is older than half an hour.
    func page(_ sealed: String, at path: String) -> PageResponse? {
        let form = KeptForm(kek, askedOf: signed)
        guard let kept = form.opened(sealed), kept.path == path, form.isCurrent(kept), let template = kept.fields["template"],
            let status = kept.fields["status"].flatMap({ Int($0) }),
            let json = kept.fields["values"].flatMap({ try? JSONParser.parse(Array($0.utf8)) }),
            let values = json.ofTemplate as? [String: Any]
        else { return nil }
        return .page(template, values, status: .init(code: status))
    }
}

extension JSONValue {
    /// The values of a template as JSON; nil if one of them can't be sealed.
    fileprivate init?(ofTemplate value: Any) {
        switch value {
        case let text as String: self = .string(text)
        case let flag as Bool: self = .bool(flag)
        case let number as Int: self = .integer(Int64(number))
        case let members as [String: Any]:
            let made = members.sorted { $0.key < $1.key }.compactMap { name, value in
                JSONValue(ofTemplate: value).map { JSONValue.Member(name, $0) }
            }
            guard made.count == members.count else { return nil }
            self = .object(made)
        case let items as [Any]:
            let made = items.compactMap { JSONValue(ofTemplate: $0) }
            guard made.count == items.count else { return nil }
            self = .array(made)
        default: return nil
        }
    }

    fileprivate var ofTemplate: Any {
        switch self {
        case .string(let text): text
        case .bool(let flag): flag
        case .integer(let number): Int(number)
        case .array(let items): items.map(\.ofTemplate)
        case .object(let members): members.reduce(into: [String: Any]()) { $0[$1.name] = $1.value.ofTemplate }
        default: false
        }
    }
}
