import Fieldseal
import Foundation
import HTTPTypes
import Hummingbird

extension WebAPI {
    /// The client whom a request's bearer token was issued to (RFC 6750 section 2.1).
    func client(_ request: Request, _ organization: String) async throws -> UUID {
        guard let header = request.headers[.authorization] else {
            throw FieldsealError(.accessDenied, "The request has no access token: Authorization: Bearer TOKEN.")
        }
        guard header.utf8.count > 7, header.prefix(7).lowercased() == "bearer " else {
            throw FieldsealError(.accessDenied, "The Authorization header is not of the form Bearer TOKEN.")
        }
        return try await tokens.verify(String(header.dropFirst(7).trimmed), for: organization)
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
