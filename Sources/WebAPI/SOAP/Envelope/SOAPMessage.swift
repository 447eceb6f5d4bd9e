import Foundation
import Model

/// A request's envelope: the element in its body, and its headers.
struct SOAPMessage: Sendable {
    let version: SOAPVersion
    let body: XMLElement
    /// The user for whom the caller acts.
    private(set) var callerID: UUID?
    /// Whether the request has WS-Addressing headers, so that the response has them too.
    private(set) var isAddressed = false
    private(set) var messageID: String?

    private static let addressing = "http://www.w3.org/2005/08/addressing"
    private static let anonymous = "http://www.w3.org/2005/08/addressing/anonymous"

    /// - Parameters:
    ///   - contract: The namespace of the operations.
    ///   - action: The operation in the message's HTTP headers.
    /// - Throws: ``SOAPFault`` for another version, and for an unknown header that must be understood; ``FieldsealError`` for a
    ///   malformed envelope.
    init(_ document: XMLDocument, contract: String, action: String?) throws {
        let root = document.root
        guard root.local == "Envelope", let version = SOAPVersion(namespace: root.name.namespace) else {
            throw SOAPFault.versionMismatch
        }
        self.version = version
        let parts = root.children.map(\.self)
        guard parts.allSatisfy({ $0.name.namespace == version.namespace }), let body = parts.last, body.local == "Body",
            parts.count == 1 || parts.count == 2 && parts[0].local == "Header"
        else { throw Self.malformed("An envelope must hold one Body, and at most one Header.") }
        let elements = body.children.map(\.self)
        guard elements.count == 1, let element = elements.first, element.name.namespace == contract else {
            throw Self.malformed("The Body of an envelope must hold one element, of the namespace \(contract).")
        }
        self.body = element
        var actions = action.map { [$0] } ?? []
        if parts.count == 2 { try read(parts[0], &actions) }
        for action in actions where action.split(separator: "/").last.map(String.init) != element.local {
            throw Self.malformed(
                "The action of the request differs from the operation in its body, \(element.local.quotedForFault).")
        }
    }

    private static func malformed(_ message: String) -> FieldsealError { FieldsealError(.badRequest, message) }

    private mutating func read(_ header: XMLElement, _ actions: inout [String]) throws {
        var isCallerNamed = false
        for block in header.children {
            switch (block.name.namespace, block.local) {
            case (Self.addressing, let local):
                isAddressed = true
                try read(addressing: local, block, &actions)
            case (Contract.xrm, "CallerId"):
                guard !isCallerNamed else { throw Self.malformed("The envelope has the header CallerId twice. Name one user.") }
                isCallerNamed = true
                guard !block.isNil, !block.text.isEmpty else { continue }
                guard let id = UUID(clientText: String(block.text.trimmed)) else {
                    throw Self.malformed("The header CallerId takes the id of a systemuser.")
                }
                callerID = id.unlessEmpty
            // If this header were ignored, the request would have the rights of the client instead of the named user's.
            case (_, let local) where ["callerid", "callerobjectid"].contains(local.lowercased()):
                throw Self.malformed(
                    "The header \(local.quotedForFault) names no caller here. Send CallerId of the namespace \(Contract.xrm), or the "
                        + "HTTP header CallerObjectId.")
            case (Contract.xrm, _), (Contract.services, _): continue
            default: try requireOptional(block)
            }
        }
    }

    private mutating func read(addressing local: String, _ block: XMLElement, _ actions: inout [String]) throws {
        switch local {
        case "Action": actions.append(block.text.trimmingCharacters(in: .whitespacesAndNewlines))
        case "MessageID":
            messageID = block.text.trimmingCharacters(in: .whitespacesAndNewlines)
            guard (messageID?.utf8.count ?? 0) <= 1_024 else {
                throw Self.malformed("The header MessageID is longer than 1,024 bytes.")
            }
        case "ReplyTo", "FaultTo":
            guard block.first("Address")?.text.trimmingCharacters(in: .whitespacesAndNewlines) == Self.anonymous else {
                throw Self.malformed("Responses are sent where the request came from: \(local) takes \(Self.anonymous).")
            }
        case "To", "From", "RelatesTo": return
        default: try requireOptional(block)
        }
    }

    /// Refuses an unknown header that must be understood.
    private func requireOptional(_ block: XMLElement) throws {
        let role = block.attribute("actor", in: version.namespace) ?? block.attribute("role", in: version.namespace) ?? ""
        let isOurs = role.isEmpty || role.hasSuffix("/next") || role.hasSuffix("/ultimateReceiver")
        let must = block.attribute("mustUnderstand", in: version.namespace)?.trimmed
        guard isOurs, must == "1" || must == "true" else { return }
        throw SOAPFault.notUnderstood(block.name, version)
    }

    /// The response's envelope.
    ///
    /// - Parameter action: The action of the response, such as `…/IOrganizationService/CreateResponse`.
    func envelope(_ action: String, _ body: (inout ContractWriter) throws -> Void) rethrows -> [UInt8] {
        try SOAPEnvelope.write(version, action: isAddressed ? action : nil, relatesTo: messageID, body)
    }
}
