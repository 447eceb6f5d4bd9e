import Authentication
import Foundation
import HTTPTypes
import Model

// The user for whom a SOAP request acts. The user is named in the envelope, or in one of the HTTP headers that the Web API also
// has.
extension RequestHeaders {
    /// - Throws: ``FieldsealError`` `.badRequest` for a malformed id, and if more than one of the headers and the envelope name a
    /// user.
    static func impersonatedUser(_ headers: HTTPFields, _ message: SOAPMessage) throws(FieldsealError) -> ImpersonatedUser? {
        if let field = headers.first(where: { $0.name.canonicalName == "callerid" }) {
            throw FieldsealError(
                .badRequest,
                "The HTTP header \(field.name.rawName) is not supported: send MSCRMCallerID, or CallerId in the envelope.")
        }
        let named = try impersonatedUser(headers)
        guard let caller = message.callerID else { return named }
        guard named == nil else {
            throw FieldsealError(
                .badRequest,
                "The envelope's CallerId and an HTTP header (MSCRMCallerID or CallerObjectId) both name a user. Send one of them.")
        }
        return .systemUser(caller)
    }
}
