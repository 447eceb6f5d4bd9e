import Foundation
import HTTPTypes
import Hummingbird
import JSON
import Model
import NIOCore
import NIOHTTP1
import PostgresClient

/// One request to the data API, alone or as a part of a batch.
struct APIRequest: Sendable {
    let method: HTTPRequest.Method
    /// The path after the version, percent-encoded. The path begins with a slash or is empty.
    let path: String
    let query: String?
    let headers: HTTPFields
    let body: [UInt8]
    let preferences: Preferences
    /// Resolves the addresses in the body.
    private let addresses: RecordAddresses

    init(
        method: HTTPRequest.Method, path: String, query: String?, headers: HTTPFields, body: [UInt8], addresses: RecordAddresses
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.addresses = addresses
        preferences = Preferences(headers[.prefer])
    }

    /// The members of the JSON object in the body, with addresses of records relative to the API.
    ///
    /// - Throws: ``FieldsealError`` `.payloadDoesNotFit`; `.badRequest` for an address of another organization.
    func members() throws(FieldsealError) -> [JSONValue.Member] {
        let value: JSONValue
        do { value = try JSONParser.parse(body) } catch {
            throw FieldsealError(.payloadDoesNotFit, "The body is not JSON: \(error).")
        }
        guard case .object(let members) = value else {
            throw FieldsealError(.payloadDoesNotFit, "The body must be a JSON object.")
        }
        return try addresses.relative(members)
    }
}
