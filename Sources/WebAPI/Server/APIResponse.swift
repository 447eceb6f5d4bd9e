import Fieldseal
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import PostgresClient

/// Builds responses: JSON, the error envelope, and the headers that every answer carries.
enum APIResponse {
    static func json(_ value: JSONValue, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) -> Response {
        var headers = headers
        headers[.contentType] = "application/json; odata.metadata=minimal; charset=utf-8"
        return Response(status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: value.utf8)))
    }

    static func noContent(_ headers: HTTPFields = [:]) -> Response { Response(status: .noContent, headers: headers) }

    /// The envelope that Dataverse clients read: `{"error": {"code": …, "message": …}}`.
    static func error(_ error: FieldsealError, status: HTTPResponse.Status? = nil) -> Response {
        var headers: HTTPFields = [:]
        if let seconds = error.retryAfter { headers[.retryAfter] = String(seconds) }
        if error.code == .accessDenied { headers[.wwwAuthenticate] = "Bearer" }
        return json(
            ["error": ["code": .string(error.code.rawValue), "message": .string(error.message)]],
            status: status ?? .init(code: error.code.httpStatus),
            headers: headers)
    }

    /// What a client gets for an error that was thrown, and whether the operator should see it.
    static func response(to error: any Error) -> (response: Response, isInternal: Bool) {
        switch error {
        case let error as FieldsealError:
            return (self.error(error), error.code.httpStatus >= 500)
        case let error as PostgresError where error.kind == .unknownOutcome:
            let message = "The connection to the database broke while the change was committed. Read it before you repeat it."
            return (self.error(FieldsealError(.unexpected, message, retryAfter: 2), status: .serviceUnavailable), true)
        case _ where (error as? PostgresError)?.isConnectionLoss == true || error is PoolError:
            let message = "The database can't be reached at the moment. Nothing was changed."
            return (self.error(FieldsealError(.unexpected, message, retryAfter: 2), status: .serviceUnavailable), true)
        case _ where error is NIOTooManyBytesError || (error as? HTTPError)?.status == .contentTooLarge:
            let limit = APILimits.bodyLength / 1_024 / 1_024
            return (self.error(FieldsealError(.requestTooLarge, "The request's body is larger than \(limit) MiB.")), false)
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

/// Limits on what a client may send.
public struct APILimits: Sendable {
    /// A request's body, in bytes.
    static let bodyLength = 1 << 20
    /// A request line with its header block, in bytes.
    static let headLength = 64 << 10

    /// Seconds for a request's head to arrive.
    public var headSeconds = 10
    /// Seconds for a request's body to arrive.
    public var bodySeconds = 30
    /// Seconds after which an idle connection is closed.
    public var idleSeconds = 60
    /// Connections at a time; further ones wait.
    public var connections = 1_000
    /// Requests at a time; further ones are answered with 503.
    public var requests = 500

    public init() {}
}

extension HTTPField.Name {
    // Some clients compare these with their case.
    static let odataVersion = HTTPField.Name(known: "OData-Version")
    static let odataEntityID = HTTPField.Name(known: "OData-EntityId")
    static let preferenceApplied = HTTPField.Name(known: "Preference-Applied")
    static let prefer = HTTPField.Name(known: "Prefer")
    static let serviceRequestID = HTTPField.Name(known: "x-ms-service-request-id")

    private init(known name: String) {
        guard let name = HTTPField.Name(name) else { preconditionFailure("not a header's name: \(name)") }
        self = name
    }
}
