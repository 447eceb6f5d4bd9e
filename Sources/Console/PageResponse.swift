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

    static func page(_ template: String, _ values: [String: Any], status: HTTPResponse.Status = .ok) -> PageResponse {
        PageResponse(content: .page(template, values, status))
    }

    static func redirect(_ path: String, cookie: String? = nil) -> PageResponse {
        PageResponse(content: .redirect(path), cookies: cookie.map { [$0] } ?? [])
    }
    static func json(_ value: JSONValue) -> PageResponse { PageResponse(content: .json(value)) }
}
