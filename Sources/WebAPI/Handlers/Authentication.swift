import Fieldseal
import Foundation
import HTTPTypes
import Hummingbird

extension WebAPI {
    /// Begins the session that a request's bearer token allows (RFC 6750 section 2.1).
    func session(_ request: Request, _ context: APIContext, _ organization: String) async throws -> Session {
        guard let header = request.headers[.authorization] else {
            throw FieldsealError(.accessDenied, "The request has no access token: Authorization: Bearer TOKEN.")
        }
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            throw FieldsealError(.accessDenied, "The Authorization header is not of the form Bearer TOKEN.")
        }
        let client = try await tokens.verify(parts[1].trimmingCharacters(in: .whitespaces), for: organization)
        return try await Session.begin(
            deployment, organization: organization, client: client, address: context.peerAddress, requestID: context.requestID)
    }

    /// The collected body.
    ///
    /// - Parameter limit: Bytes at most.
    func body(_ request: Request, upTo limit: Int = APILimits.bodyLength) async throws -> [UInt8] {
        // Refused by its own word, before any of it is read.
        if let length = request.headers[.contentLength].flatMap(Int.init), length > limit { throw HTTPError(.contentTooLarge) }
        let buffer = try await request.body.collect(upTo: limit)
        return Array(buffer.readableBytesView)
    }
}
