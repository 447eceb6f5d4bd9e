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
    static let honoured: Set<String> = [
        "callerobjectid", "mscrmcallerid", "odata-maxversion", "odata-version",
    ]
    /// Headers without an effect here, each with the reason.
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
            } else if prefixes.contains(where: name.hasPrefix), !honoured.contains(name), harmless[name] == nil {
                throw FieldsealError(
                    .badRequest, "The header \(field.name.rawName.prefix(100)) is not supported. Send the request without it.")
            }
        }
        try checkVersions(headers)
    }

    private static func checkVersions(_ headers: HTTPFields) throws(FieldsealError) {
        if let version = headers[.odataVersion], version.prefix(while: { $0 != ";" }).trimmed != "4.0" {
            throw FieldsealError(.badRequest, "The OData-Version of a request here is 4.0.")
        }
        if let version = headers[.odataMaxVersion] {
            guard let number = Double(version.prefix { $0 != ";" }.trimmed), number >= 4 else {
                throw FieldsealError(.badRequest, "Responses are of OData 4.0, and OData-MaxVersion does not allow that.")
            }
        }
    }

    /// The user in whose name a request is, if its headers name one.
    ///
    /// - Throws: ``FieldsealError`` `.badRequest` for a malformed id, and for both headers together.
    static func impersonatedUser(_ headers: HTTPFields) throws(FieldsealError) -> ImpersonatedUser? {
        let (caller, object) = (headers[.mscrmCallerID], headers[.callerObjectID])
        guard caller != nil || object != nil else { return nil }
        guard caller == nil || object == nil else {
            throw FieldsealError(.badRequest, "A request has either MSCRMCallerID or CallerObjectId, and not both.")
        }
        let name = caller == nil ? "CallerObjectId" : "MSCRMCallerID"
        guard let text = (caller ?? object)?.trimmed, let id = UUID(text: text) else {
            throw FieldsealError(.badRequest, "\(name) takes an id such as 00000000-0000-0000-0000-000000000000.")
        }
        return caller == nil ? .objectID(id) : .systemUser(id)
    }
}

/// The entity tags of a conditional header (RFC 9110 section 13.1).
enum EntityTags {
    /// Whether a header's value names the tag, or any tag by `*`. The comparison is weak.
    static func match(_ value: String?, _ tag: String) -> Bool {
        guard let value = value?.trimmed, value != "null" else { return false }
        if value == "*" { return true }
        let opaque = tag.drop { $0 != "\"" }
        return value.split(separator: ",").contains { item in
            let item = item.trimmed
            return (item.hasPrefix("W/") ? item.dropFirst(2) : item) == opaque
        }
    }
}

/// The media types that a client accepts and sends (RFC 9110 section 12.5.1).
enum MediaTypes {
    /// The amount of metadata in a JSON response (OData JSON Format 4.0, section 3.1).
    enum Metadata {
        case minimal, none
    }

    /// The form of JSON that `Accept` requests.
    ///
    /// - Throws: ``UnsupportedForm`` if it accepts no form that the service supports.
    static func metadata(accepting header: String?) throws -> Metadata {
        guard let header, !header.isEmpty, header != "application/json", header != "*/*" else { return .minimal }
        var best: (quality: Double, metadata: Metadata)?
        for range in header.split(separator: ",") {
            let parts = range.split(separator: ";").map { String($0.trimmed) }
            guard let type = parts.first?.lowercased(), ["*/*", "application/*", "application/json"].contains(type),
                let (quality, metadata) = parameters(parts.dropFirst())
            else { continue }
            if quality > best?.quality ?? 0 { best = (quality, metadata) }
        }
        guard let best else { throw UnsupportedForm.response }
        return best.metadata
    }

    /// - Returns: Nil for parameters that request an unsupported form.
    private static func parameters(_ parameters: ArraySlice<String>) -> (quality: Double, metadata: Metadata)? {
        var (quality, metadata) = (1.0, Metadata.minimal)
        for parameter in parameters {
            let pair = parameter.split(separator: "=", maxSplits: 1).map { $0.trimmed.lowercased() }
            guard pair.count == 2 else { continue }
            switch (pair[0], pair[1].filter { $0 != "\"" }) {
            case ("q", let value): quality = Double(value) ?? 1
            case ("odata.metadata", "minimal"), ("metadata", "minimal"): metadata = .minimal
            case ("odata.metadata", "none"), ("metadata", "none"): metadata = .none
            case ("odata.metadata", _), ("metadata", _): return nil
            case ("ieee754compatible", "true"), ("exponentialdecimals", "true"): return nil
            case ("charset", let value) where value != "utf-8": return nil
            default: continue
            }
        }
        return (quality, metadata)
    }

    /// - Throws: ``UnsupportedForm`` for a body whose declared type is not JSON in UTF-8.
    static func requireJSON(_ contentType: String?) throws {
        guard let contentType, !contentType.isEmpty else { return }
        let parts = contentType.split(separator: ";").map { String($0.trimmed) }
        guard let type = parts.first?.lowercased(), type == "application/json" || type.hasSuffix("+json"),
            parameters(parts.dropFirst()) != nil
        else { throw UnsupportedForm.body }
    }
}

/// A media type that the service does not support.
enum UnsupportedForm: Error {
    /// `Accept` allows no media type that the service supports.
    case response
    /// `Content-Type` names a type that the address does not accept.
    case body

    var status: HTTPResponse.Status { self == .response ? .notAcceptable : .unsupportedMediaType }

    var error: FieldsealError {
        switch self {
        case .response:
            FieldsealError(
                .badRequest,
                "Accept or $format allows no response that the service gives: application/json with odata.metadata=minimal or none, in UTF-8, "
                    + "with numbers as numbers.")
        case .body: FieldsealError(.badRequest, "The body must be application/json in UTF-8, with numbers as numbers.")
        }
    }
}

extension HTTPField.Name {
    static let odataMaxVersion = HTTPField.Name(known: "OData-MaxVersion")
    static let mscrmCallerID = HTTPField.Name(known: "MSCRMCallerID")
    static let callerObjectID = HTTPField.Name(known: "CallerObjectId")
}
