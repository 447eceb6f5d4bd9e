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
