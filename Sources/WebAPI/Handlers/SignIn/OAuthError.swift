import HTTPTypes
import JSON

/// A refusal of the token endpoint, in the form that OAuth clients parse (RFC 6749 section 5.2).
struct OAuthError: Error {
    let error: String
    let description: String
    let status: HTTPResponse.Status

    init(_ error: String, _ description: String, status: HTTPResponse.Status = .badRequest) {
        self.error = error
        self.description = description
        self.status = status
    }

    static let invalidClient = OAuthError(
        "invalid_client", "The client is unknown or disabled, or its secret, assertion or certificate is wrong.",
        status: .unauthorized)

    var answer: APIResponse {
        var headers: HTTPFields = [.cacheControl: "no-store"]
        if status == .unauthorized { headers[.wwwAuthenticate] = "Basic realm=\"token\"" }
        return APIResponse.json(
            ["error": .string(error), "error_description": .string(description)], status: status, headers: headers)
    }
}

// At the addresses of the token and revocation endpoints, converts all other errors, such as those of limits, to the form that
// OAuth clients parse.
extension OAuthError {
    /// Whether a path is that of a token or a revocation endpoint, also for an organization that does not exist.
    static func answers(_ path: String) -> Bool {
        let segments = path.lowercased().split(separator: "/")
        return segments.prefix(2).contains("oauth2") && ["token", "revoke"].contains(segments.last)
    }

    /// The longest `Retry-After` of these endpoints, in seconds. Libraries such as azure-identity sleep for that time, several
    /// times in a row, before their program sees the refusal. A lock of an account can last for many minutes, and sign-ins that
    /// are tried during it are not counted.
    private static let longestWait = 5

    /// Converts a refusal of the Web API to the form of OAuth, with the same status and headers, except for a shorter
    /// `Retry-After`.
    static func told(_ answer: APIResponse) -> APIResponse {
        let error =
            switch answer.status.code {
            case 401: "invalid_client"
            case 408, 429, 503: "temporarily_unavailable"
            case 500...: "server_error"
            default: "invalid_request"
            }
        var headers = answer.headers
        var description = answer.errorMessage ?? answer.status.reasonPhrase
        if let seconds = headers[.retryAfter].flatMap({ Int($0) }), seconds > longestWait {
            description += " The limit ends in \(seconds) seconds."
            headers[.retryAfter] = String(longestWait)
        }
        let told = OAuthError(error, description, status: answer.status).answer
        for field in told.headers { headers[field.name] = field.value }
        return APIResponse(status: told.status, headers: headers, body: told.body)
    }
}
