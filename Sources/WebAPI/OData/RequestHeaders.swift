import Authentication
import Foundation
import HTTPTypes
import JSON
import Model

/// The request headers in Dataverse's and OData's documentation that change the meaning of a request.
///
/// Other headers of Dataverse and OData are refused. All remaining headers belong to HTTP.
enum RequestHeaders {
    /// Supported headers. ``check(_:)`` refuses values that are not supported.
    static let supported: Set<String> = [
        "callerobjectid", "mscrmcallerid", "odata-maxversion", "odata-version",
    ]
    /// Headers without an effect in this service, each with the reason.
    static let harmless: [String: String] = [
        "mscrm.bypassbusinesslogicexecution": "there is no custom business logic",
        "mscrm.bypassbusinesslogicexecutionstepids": "there is no custom business logic",
        "mscrm.bypasscustompluginexecution": "there are no plug-ins",
        "mscrm.suppresscallbackregistrationexpanderjob": "there are no flows",
        "mscrm.suppressduplicatedetection": "there are no duplicate detection rules",
        "mscrm.mergelabels": "labels are fixed",
        "mscrm.solutionuniquename": "it is for changes of the schema, which are refused",
        "consistency": "every read sees every write before it",
    ]
    /// Headers that would change the meaning of a request and are not supported.
    static let refused: [String: String] = [
        "callerid": "send MSCRMCallerID",
        "x-http-method": "send the method itself",
        "x-http-method-override": "send the method itself",
        "isolation": "leave it out",
        "odata-isolation": "leave it out",
        "content-encoding": "send the body as it is",
        "content-range": "send the whole body",
        "x-ms-transfer-mode": "send the whole body",
        "if-unmodified-since": "send If-Match with the @odata.etag of the record",
    ]

    private static let prefixes = ["mscrm", "odata-"]

    /// - Throws: ``FieldsealError`` `.badRequest` naming the header.
    static func check(_ headers: HTTPFields) throws(FieldsealError) {
        for field in headers {
            let name = field.name.canonicalName
            if let advice = refused[name] {
                guard name == "content-encoding", field.value.lowercased() == "identity" else {
                    throw FieldsealError(.badRequest, "The header \(field.name.rawName) is not supported: \(advice).")
                }
            } else if prefixes.contains(where: name.hasPrefix), !supported.contains(name), harmless[name] == nil {
                throw FieldsealError(
                    .badRequest, "The header \(field.name.rawName.prefix(100)) is not supported. Send the request without it.")
            }
        }
        try checkVersions(headers)
    }

    private static func checkVersions(_ headers: HTTPFields) throws(FieldsealError) {
        if let version = headers[.odataVersion], version.prefix(while: { $0 != ";" }).trimmed != "4.0" {
            throw FieldsealError(.badRequest, "The OData-Version of a request must be 4.0.")
        }
        if let version = headers[.odataMaxVersion] {
            guard let number = Double(version.prefix { $0 != ";" }.trimmed), number >= 4 else {
                throw FieldsealError(.badRequest, "Responses are of OData 4.0, and OData-MaxVersion does not allow that.")
            }
        }
    }

    /// The user in whose name the request acts, if its headers name one.
    ///
    /// - Throws: ``FieldsealError`` `.badRequest` for a malformed id, and for both headers together.
    static func impersonatedUser(_ headers: HTTPFields) throws(FieldsealError) -> ImpersonatedUser? {
        let (caller, object) = (headers[.mscrmCallerID], headers[.callerObjectID])
        guard caller != nil || object != nil else { return nil }
        guard caller == nil || object == nil else {
            throw FieldsealError(.badRequest, "A request may have MSCRMCallerID or CallerObjectId, and not both.")
        }
        let name = caller == nil ? "CallerObjectId" : "MSCRMCallerID"
        guard let text = (caller ?? object)?.trimmed, let id = UUID(text: text) else {
            throw FieldsealError(.badRequest, "\(name) takes an id such as 00000000-0000-0000-0000-000000000000.")
        }
        return caller == nil ? .objectID(id) : .systemUser(id)
    }
}

extension HTTPField.Name {
    static let odataMaxVersion = HTTPField.Name(known: "OData-MaxVersion")
    static let mscrmCallerID = HTTPField.Name(known: "MSCRMCallerID")
    static let callerObjectID = HTTPField.Name(known: "CallerObjectId")
}
