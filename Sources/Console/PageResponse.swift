import HTTPTypes
import JSON

/// The response of a page.
struct PageResponse {
    enum Content {
        case page(String, [String: Any], HTTPResponse.Status)
        case redirect(String)
        case json(JSONValue)
        case download(name: String, type: String, [UInt8])
        /// A download in parts. Each part is sent before the next is read.
        case stream(name: String, type: String, @Sendable (_ write: ([UInt8]) async throws -> Void) async throws -> Void)
        /// A document from outside, such as the text of an e-mail. The document is shown in a frame without scripts, forms or
        /// remote content.
        case foreign(html: [UInt8])
    }

    var content: Content
    var cookies: [String] = []
    /// Whether there must be no redirect to the page, because it keeps a typed secret.
    var hasNoAddress = false

    /// From this number of bytes on, another thread renders a page.
    private static let longLength = 256 << 10

    /// Whether the page's values have so many bytes of text that rendering it takes long.
    var isLong: Bool {
        guard case .page(_, let values, _) = content else { return false }
        var rest = Self.longLength
        return Self.isLong(values, &rest)
    }

    private static func isLong(_ value: Any, _ rest: inout Int) -> Bool {
        switch value {
        case let text as String: rest -= text.utf8.count
        case let values as [String: Any]: return values.values.contains { isLong($0, &rest) }
        case let values as [Any]: return values.contains { isLong($0, &rest) }
        default: break
        }
        return rest < 0
    }

    static func page(_ template: String, _ values: [String: Any], status: HTTPResponse.Status = .ok) -> PageResponse {
        PageResponse(content: .page(template, values, status))
    }

    static func redirect(_ path: String, cookie: String? = nil) -> PageResponse {
        PageResponse(content: .redirect(path), cookies: cookie.map { [$0] } ?? [])
    }
    static func json(_ value: JSONValue) -> PageResponse { PageResponse(content: .json(value)) }
}
