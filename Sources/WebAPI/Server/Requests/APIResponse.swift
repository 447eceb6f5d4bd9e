import Foundation
import HTTPTypes
import Hummingbird
import JSON
import Model
import NIOCore
import NIOHTTP1
import PostgresClient

/// The response to a request: JSON, an error in its envelope, or only headers.
struct APIResponse: Sendable, ResponseGenerator {
    var status: HTTPResponse.Status
    var headers: HTTPFields
    var body: [UInt8]
    /// How many records the body has.
    var records = 0
    /// The body of a response that is the same for all clients; then ``body`` is empty.
    var document: ByteBuffer?

    static func json(_ value: JSONValue, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) -> APIResponse {
        json(value.utf8, status: status, headers: headers)
    }

    static func json(_ body: [UInt8], status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) -> APIResponse {
        var headers = headers
        headers[.contentType] = "application/json; odata.metadata=minimal; charset=utf-8"
        return APIResponse(status: status, headers: headers, body: body)
    }

    static func noContent(_ headers: HTTPFields = [:]) -> APIResponse {
        APIResponse(status: .noContent, headers: headers, body: [])
    }

    func response(from request: Request, context: some RequestContext) -> Response { response }

    var response: Response {
        Response(status: status, headers: headers, body: .init(byteBuffer: document ?? ByteBuffer(bytes: body)))
    }

    /// The challenge that requests a token. ``RequestMiddleware`` adds the address of the token endpoint of the requested
    /// organization.
    static let challenge = "Bearer"

    /// The envelope that Dataverse clients parse: `{"error": {"code": …, "message": …}}`.
    static func error(_ error: FieldsealError, status: HTTPResponse.Status? = nil) -> APIResponse {
        var headers: HTTPFields = [:]
        if let seconds = error.retryAfter { headers[.retryAfter] = String(seconds) }
        if error.code == .accessDenied { headers[.wwwAuthenticate] = challenge }
        var members: [JSONValue.Member] = [
            .init("code", .string(error.code.rawValue)), .init("message", .string(error.message)),
        ]
        switch error.detail {
        case .approval(let id): members.append(.init("@fieldseal.approvalid", .string(id)))
        // RFC 9470 section 3 defines this challenge.
        case .maximumAge(let seconds):
            headers[.wwwAuthenticate] = "\(challenge) error=\"insufficient_user_authentication\", max_age=\"\(seconds)\""
        case nil: break
        }
        return json(
            .object([.init("error", .object(members))]),
            status: status ?? .init(code: error.code.httpStatus),
            headers: headers)
    }

    /// The response to an error, with details in addition to its message, for clients that request such details.
    func withInnerError(_ error: any Error) -> APIResponse {
        guard case .object(var outer)? = (try? JSONParser.parse(body))?["error"], let error = error as? FieldsealError else {
            return self
        }
        outer.append(
            .init("innererror", ["message": .string(error.message), "type": .string("Fieldseal.\(error.code)"), "stacktrace": ""]))
        return .json(.object([.init("error", .object(outer))]), status: status, headers: headers)
    }

    /// Whether an error says that a request's body is too large.
    static func isTooLarge(_ error: any Error) -> Bool {
        error is NIOTooManyBytesError || (error as? HTTPError)?.status == .contentTooLarge
    }

    /// The message of an error's response.
    var errorMessage: String? { (try? JSONParser.parse(body))?["error"]?["message"]?.string }

    /// The response to a thrown error, and whether to log it for the operator.
    static func answer(to error: any Error) -> (answer: APIResponse, isInternal: Bool) {
        switch error {
        case let error as FieldsealError where error.code == .unexpected && error.retryAfter != nil:
            return (self.error(error, status: .serviceUnavailable), false)
        case let error as FieldsealError:
            // The status 501 means that the client requested something unsupported. That is not an internal error.
            return (self.error(error), error.code.httpStatus >= 500 && error.code.httpStatus != 501)
        case let error as PostgresError where error.isTold:
            return (self.error(error.refusal, status: .init(code: error.refusalStatus)), error.refusalStatus >= 500)
        case PoolError.shareExhausted:
            let message =
                "This caller's requests use as many database connections as one caller may use. Wait for their responses, then try "
                + "again."
            return (self.error(FieldsealError(.concurrentRequestsExceeded, message, retryAfter: 2)), false)
        case let error as PostgresError where error.isCancelledStatement:
            let message = "The database did not finish this in the time that the service allows. Nothing was changed."
            return (self.error(FieldsealError(.sqlTimeout, message, retryAfter: 5), status: .serviceUnavailable), true)
        case PoolError.exhausted: return (self.error(.connectionsBusy, status: .serviceUnavailable), true)
        case is PoolError: return (self.error(.databaseAway, status: .serviceUnavailable), true)
        case _ where isTooLarge(error):
            let limits = "1 MiB, or 16 MiB for a batch, for many records, for e-mails and for attachments"
            return (self.error(FieldsealError(.requestTooLarge, "The request's body is larger than \(limits).")), false)
        case is HTTPParserError:
            // The connection is closed, because the rest of this body can't be separated from the next request.
            var answer = self.error(
                FieldsealError(.badRequest, "The request's body is not framed as its header says. Nothing was done."))
            answer.headers[.connection] = "close"
            return (answer, false)
        case let form as UnsupportedForm: return (self.error(form.error, status: form.status), false)
        case let error as MethodNotAllowed:
            let allowed = error.allowed.map(\.rawValue).joined(separator: ", ")
            var answer = self.error(FieldsealError(error.code, "This address takes \(allowed)."), status: .methodNotAllowed)
            answer.headers[.allow] = allowed
            return (answer, false)
        case let error as HTTPError where error.status == .notFound:
            return (self.error(FieldsealError(.noResource, "There is nothing at this address.")), false)
        case let error as HTTPError:
            let message = "The request can't be answered: \(error.status.reasonPhrase)."
            return (self.error(FieldsealError(.badRequest, message), status: error.status), false)
        case is CancellationError:
            return (self.error(FieldsealError(.unexpected, "The request was called off."), status: .serviceUnavailable), false)
        default:
            let message = "Something went wrong on the server. Its log has more under this request's id."
            return (self.error(FieldsealError(.unexpected, message)), true)
        }
    }
}

extension HTTPField.Name {
    // Some clients compare the names of headers case-sensitively, so they are written as Dataverse writes them.
    static let odataVersion = HTTPField.Name(known: "OData-Version")
    static let odataEntityID = HTTPField.Name(known: "OData-EntityId")
    static let preferenceApplied = HTTPField.Name(known: "Preference-Applied")
    static let prefer = HTTPField.Name(known: "Prefer")
    static let xForwardedFor = HTTPField.Name(known: "X-Forwarded-For")
    static let xForwardedProto = HTTPField.Name(known: "X-Forwarded-Proto")
    static let serviceRequestID = HTTPField.Name(known: "x-ms-service-request-id")
    static let contentID = HTTPField.Name(known: "Content-ID")

    init(known name: String) {
        guard let name = HTTPField.Name(name) else { preconditionFailure("not a header's name: \(name)") }
        self = name
    }
}
