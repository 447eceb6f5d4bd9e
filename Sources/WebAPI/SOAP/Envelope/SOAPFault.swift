import Foundation
import HTTPTypes
import Hummingbird
import JSON
import Model

/// A refusal: an `OrganizationServiceFault` in a fault of either version of SOAP.
struct SOAPFault: Error, Sendable {
    /// The fault's code in SOAP.
    private enum Kind {
        case client, server, versionMismatch, notUnderstood(XMLName)
    }

    private let kind: Kind
    let code: ErrorCode
    let message: String
    let retryAfter: Int?
    /// The index of the refused request in a transaction.
    var faultedIndex: Int?
    /// The contract of the fault's detail.
    var contract = "OrganizationServiceFault"
    private let isUnauthorized: Bool

    private init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
        code = .badRequest
        retryAfter = nil
        isUnauthorized = false
    }

    /// The error as the client sees it, in the words of the Web API, and whether to log it for the operator.
    static func fault(for error: any Error) -> (fault: SOAPFault, isInternal: Bool) {
        switch error {
        case let fault as SOAPFault: return (fault, false)
        case let error as XMLSyntaxError:
            return (SOAPFault(FieldsealError(.badRequest, "The request is not XML that this service reads: \(error)."), nil), false)
        case _ where APIResponse.isTooLarge(error):
            let message = "The request's body is larger than 16 MiB, or than 1 MiB for the Discovery service."
            return (SOAPFault(FieldsealError(.requestTooLarge, message), nil), false)
        default:
            let (answer, isInternal) = APIResponse.answer(to: error)
            let told = (try? JSONParser.parse(answer.body))?["error"]
            let code = told?["code"]?.string.flatMap(ErrorCode.init) ?? .unexpected
            let refusal = FieldsealError(
                code, told?["message"]?.string ?? "", retryAfter: answer.headers[.retryAfter].flatMap { Int($0) })
            // If something is not supported, the client has to change the request, so the fault has the code for a client's error.
            let isServer = answer.status.code >= 500 && code != .notImplemented
            return (SOAPFault(refusal, isServer), isInternal && code != .notImplemented)
        }
    }

    init(_ error: FieldsealError, _ isServer: Bool?) {
        kind = isServer ?? false ? .server : .client
        code = error.code
        message = error.message
        retryAfter = error.retryAfter
        isUnauthorized = error.code == .accessDenied
    }

    static let versionMismatch = SOAPFault(.versionMismatch, "The request is not an envelope of SOAP 1.1 or SOAP 1.2.")

    static func notUnderstood(_ header: XMLName, _ version: SOAPVersion) -> SOAPFault {
        SOAPFault(
            .notUnderstood(header),
            "The header \(header.local.quotedForFault) must be understood, and this service does not know it. Leave it out.")
    }

    // MARK: Writing

    /// The response with the fault.
    ///
    /// - Parameters:
    ///   - action: The action in the WS-Addressing headers; nil for a response without these headers.
    ///   - activity: The request's id.
    func answer(_ version: SOAPVersion, action: String? = nil, relatesTo: String? = nil, activity: String) -> APIResponse {
        let body = SOAPEnvelope.write(version, action: action, relatesTo: relatesTo) { writer in
            switch version {
            case .v11: write11(&writer, activity)
            case .v12: write12(&writer, activity)
            }
        }
        var headers: HTTPFields = [.contentType: version.contentType]
        if let retryAfter { headers[.retryAfter] = String(retryAfter) }
        return APIResponse(status: isUnauthorized ? .unauthorized : .internalServerError, headers: headers, body: body)
    }

    private var hasDetail: Bool {
        switch kind {
        case .client, .server: true
        case .versionMismatch, .notUnderstood: false
        }
    }

    private func write11(_ writer: inout ContractWriter, _ activity: String) {
        let name =
            switch kind {
            case .client: "Client"
            case .server: "Server"
            case .versionMismatch: "VersionMismatch"
            case .notUnderstood: "MustUnderstand"
            }
        writer.write("<s:Fault><faultcode>s:\(name)</faultcode><faultstring xml:lang=\"en-US\">\(message.xmlEscaped)</faultstring>")
        if hasDetail {
            writer.write("<detail>")
            detail(&writer, activity)
            writer.write("</detail>")
        }
        writer.write("</s:Fault>")
    }

    private func write12(_ writer: inout ContractWriter, _ activity: String) {
        let name =
            switch kind {
            case .client: "Sender"
            case .server: "Receiver"
            case .versionMismatch: "VersionMismatch"
            case .notUnderstood: "MustUnderstand"
            }
        writer.write("<s:Fault><s:Code><s:Value>s:\(name)</s:Value></s:Code><s:Reason><s:Text xml:lang=\"en-US\">")
        writer.output.appendXML(message)
        writer.write("</s:Text></s:Reason>")
        if hasDetail {
            writer.write("<s:Detail>")
            detail(&writer, activity)
            writer.write("</s:Detail>")
        }
        writer.write("</s:Fault>")
    }

    private func detail(_ writer: inout ContractWriter, _ activity: String) {
        if let faultedIndex {
            writer.write("<OrganizationServiceFault xmlns=\"\(Contract.xrm)\" xmlns:i=\"\(XMLNamespace.instance)\"")
            writer.write(" xmlns:a=\"\(Contract.keys)\" i:type=\"a:ExecuteTransactionFault\">")
            writer.declare(Contract.keys, as: "a")
            writer.declare(XMLNamespace.instance, as: "i")
            writer.declare(Contract.xrm, as: "")
            members(&writer, activity)
            writer.write("<a:FaultedRequestIndex>\(faultedIndex)</a:FaultedRequestIndex></OrganizationServiceFault>")
        } else {
            writer.write("<\(contract) xmlns=\"\(Contract.xrm)\" xmlns:i=\"\(XMLNamespace.instance)\">")
            writer.declare(XMLNamespace.instance, as: "i")
            writer.declare(Contract.xrm, as: "")
            members(&writer, activity)
            writer.write("</\(contract)>")
        }
    }

    /// Writes the contents of an `OrganizationServiceFault`.
    func members(_ writer: inout ContractWriter, _ activity: String) {
        let number = UInt32(code.rawValue.dropFirst(2), radix: 16) ?? 0
        writer.text("ActivityId", Contract.xrm, activity)
        writer.text("ErrorCode", Contract.xrm, String(Int32(bitPattern: number)))
        writer.element("ErrorDetails", Contract.xrm, declaring: [Contract.pairs]) { writer in
            guard let retryAfter else { return }
            writer.element("KeyValuePairOfstringanyType", Contract.xrm) { writer in
                writer.text("key", Contract.pairs, "Retry-After")
                writer.text("value", Contract.pairs, type: XMLName(Contract.serialization, "duration"), "PT\(retryAfter)S")
            }
        }
        writer.null("HelpLink", Contract.xrm)
        writer.text("Message", Contract.xrm, message)
        writer.text("Timestamp", Contract.xrm, ISO8601.text(Date()))
        guard contract == "OrganizationServiceFault" else { return writer.null("InnerFault", Contract.xrm) }
        writer.text("ExceptionRetriable", Contract.xrm, String(retryAfter != nil))
        for name in ["ExceptionSource", "InnerFault", "OriginalException", "TraceText"] { writer.null(name, Contract.xrm) }
    }
}
