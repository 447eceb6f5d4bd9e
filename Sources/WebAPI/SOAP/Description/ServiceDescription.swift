/// The descriptions of the SOAP services (WSDL 1.1) with the schemas of their contracts. Tools generate client code from a
/// description.
struct ServiceDescription {
    private let name: String
    private let namespace: String
    private let operations: [String]
    private let schemas: String
    private let hasFault: Bool

    /// The description of the Organization service.
    ///
    /// - Parameter address: The service's address, without `/web`.
    static func organization(at address: String) -> [UInt8] {
        ServiceDescription(
            name: "OrganizationService", namespace: Contract.services, operations: OrganizationService.operations.sorted(),
            schemas: ContractSchemas.organization, hasFault: true
        ).bytes(address)
    }

    /// The description of the Discovery service.
    static func discovery(at address: String) -> [UInt8] {
        ServiceDescription(
            name: "DiscoveryService", namespace: Contract.discovery, operations: ["Execute"], schemas: ContractSchemas.discovery,
            hasFault: false
        ).bytes(address)
    }

    private func bytes(_ address: String) -> [UInt8] {
        let address = address.hasSuffix("/web") ? String(address.dropLast(4)) : address
        var text = "<?xml version=\"1.0\" encoding=\"utf-8\"?><wsdl:definitions name=\"\(name)\" targetNamespace=\"\(namespace)\""
        text += " xmlns:wsdl=\"http://schemas.xmlsoap.org/wsdl/\" xmlns:soap=\"http://schemas.xmlsoap.org/wsdl/soap/\""
        text += " xmlns:soap12=\"http://schemas.xmlsoap.org/wsdl/soap12/\" xmlns:xs=\"\(XMLNamespace.schema)\""
        text +=
            " xmlns:wsaw=\"http://www.w3.org/2006/05/addressing/wsdl\" xmlns:tns=\"\(namespace)\"\(ContractSchemas.declarations)>"
        text += "<wsdl:types>\(schemas)</wsdl:types>"
        for operation in operations { text += messages(operation) }
        text += "<wsdl:portType name=\"I\(name)\">\(operations.map(portOperation).joined())</wsdl:portType>"
        text += binding("soap", "SOAP11") + binding("soap12", "SOAP12")
        text += "<wsdl:service name=\"\(name)\">"
        text +=
            "<wsdl:port name=\"SOAP11\" binding=\"tns:SOAP11\"><soap:address location=\"\(address.xmlEscaped)/web\"/></wsdl:port>"
        text += "<wsdl:port name=\"SOAP12\" binding=\"tns:SOAP12\"><soap12:address location=\"\(address.xmlEscaped)\"/></wsdl:port>"
        text += "</wsdl:service></wsdl:definitions>"
        return Array(text.utf8)
    }

    private func action(_ operation: String) -> String { "\(namespace)/I\(name)/\(operation)" }

    private func messages(_ operation: String) -> String {
        var text = ""
        for (suffix, element) in [("InputMessage", operation), ("OutputMessage", "\(operation)Response")] {
            text += "<wsdl:message name=\"I\(name)_\(operation)_\(suffix)\">"
            text += "<wsdl:part name=\"parameters\" element=\"tns:\(element)\"/></wsdl:message>"
        }
        guard hasFault else { return text }
        text += "<wsdl:message name=\"I\(name)_\(operation)_FaultMessage\">"
        return text + "<wsdl:part name=\"detail\" element=\"x:OrganizationServiceFault\"/></wsdl:message>"
    }

    private func portOperation(_ operation: String) -> String {
        let message = "tns:I\(name)_\(operation)"
        var text = "<wsdl:operation name=\"\(operation)\">"
        text += "<wsdl:input wsaw:Action=\"\(action(operation))\" message=\"\(message)_InputMessage\"/>"
        text += "<wsdl:output wsaw:Action=\"\(action(operation))Response\" message=\"\(message)_OutputMessage\"/>"
        if hasFault {
            text += "<wsdl:fault wsaw:Action=\"\(action(operation))OrganizationServiceFaultFault\""
            text += " name=\"OrganizationServiceFaultFault\" message=\"\(message)_FaultMessage\"/>"
        }
        return text + "</wsdl:operation>"
    }

    private func binding(_ prefix: String, _ binding: String) -> String {
        var text = "<wsdl:binding name=\"\(binding)\" type=\"tns:I\(name)\">"
        text += "<\(prefix):binding transport=\"http://schemas.xmlsoap.org/soap/http\"/>"
        for operation in operations {
            text +=
                "<wsdl:operation name=\"\(operation)\"><\(prefix):operation soapAction=\"\(action(operation))\" style=\"document\"/>"
            text += "<wsdl:input><\(prefix):body use=\"literal\"/></wsdl:input>"
            text += "<wsdl:output><\(prefix):body use=\"literal\"/></wsdl:output>"
            if hasFault {
                text += "<wsdl:fault name=\"OrganizationServiceFaultFault\">"
                text += "<\(prefix):fault name=\"OrganizationServiceFaultFault\" use=\"literal\"/></wsdl:fault>"
            }
            text += "</wsdl:operation>"
        }
        return text + "</wsdl:binding>"
    }
}
