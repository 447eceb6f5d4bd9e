import HTTPTypes
import JSON

/// The form of a request to the token endpoint (RFC 6749 appendix B).
struct OAuthForm {
    private let values: [String: [String]]

    /// The longest form in bytes. An assertion with a chain of certificates fits.
    private static let longest = 1 << 16
    private static let parameterLimit = 50

    /// - Throws: ``OAuthError`` for a body that is not a form. The size of the body is checked first, because the caller has not
    ///   signed in.
    init(_ bytes: [UInt8], contentType: String?) throws {
        guard bytes.count <= Self.longest else {
            throw OAuthError("invalid_request", "The form is longer than \(Self.longest >> 10) KiB.")
        }
        try Self.requireForm(contentType)
        values = Dictionary(grouping: try Self.fields(bytes), by: \.name).mapValues { $0.map(\.value) }
    }

    private static func fields(_ bytes: [UInt8]) throws(OAuthError) -> [(name: String, value: String)] {
        do {
            return try FormFields.read(bytes, limit: parameterLimit)
        } catch {
            switch error {
            case .tooManyFields:
                throw OAuthError("invalid_request", "The form has more than \(parameterLimit) parameters.")
            case .notUTF8: throw OAuthError("invalid_request", "The form is not properly percent-encoded.")
            case .zero: throw OAuthError("invalid_request", "The form has a parameter with the character U+0000.")
            }
        }
    }

    /// Refuses a content type other than that of a form in UTF-8.
    private static func requireForm(_ contentType: String?) throws(OAuthError) {
        guard let contentType, !contentType.isEmpty else { return }
        let type = contentType.prefix { $0 != ";" }.trimmed.lowercased()
        let charset = ContentTypeParameter.value("charset", in: contentType)?.lowercased() ?? "utf-8"
        guard type == "application/x-www-form-urlencoded", ["utf-8", "utf8", "us-ascii"].contains(charset) else {
            throw OAuthError("invalid_request", "The body must be a form: application/x-www-form-urlencoded in UTF-8.")
        }
    }

    /// A parameter's value; nil for a missing parameter.
    ///
    /// - Throws: ``OAuthError`` for a parameter that occurs twice (RFC 6749 section 3.2).
    subscript(name: String) -> String? {
        get throws {
            guard let given = values[name] else { return nil }
            guard given.count == 1 else { throw OAuthError("invalid_request", "The form has \(name) more than once.") }
            return given[0]
        }
    }
}
