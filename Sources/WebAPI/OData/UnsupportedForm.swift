import Authentication
import Foundation
import HTTPTypes
import JSON
import Model

/// A media type that the service does not support.
enum UnsupportedForm: Error {
    /// `Accept` allows no media type that the service supports.
    case response
    /// `Accept` does not allow XML, and the document is XML.
    case document
    /// `Content-Type` names a type that the address does not accept.
    case body

    var status: HTTPResponse.Status { self == .body ? .unsupportedMediaType : .notAcceptable }

    var error: FieldsealError {
        switch self {
        case .response:
            FieldsealError(
                .badRequest,
                "Accept or $format allows no response that the service gives: application/json with odata.metadata=minimal or none, in UTF-8, "
                    + "with numbers as numbers.")
        case .document:
            FieldsealError(
                .badRequest, "$metadata is application/xml in UTF-8, which Accept does not allow. Send Accept: application/xml.")
        case .body: FieldsealError(.badRequest, "The body must be application/json in UTF-8, with numbers as numbers.")
        }
    }
}
