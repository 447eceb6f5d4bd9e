import Model

/// The namespaces of the Organization service's contracts.
enum Contract {
    static let services = "http://schemas.microsoft.com/xrm/2011/Contracts/Services"
    static let xrm = "http://schemas.microsoft.com/xrm/2011/Contracts"
    static let crm = "http://schemas.microsoft.com/crm/2011/Contracts"
    static let many = "http://schemas.microsoft.com/xrm/2012/Contracts"
    static let organization = "http://schemas.microsoft.com/xrm/2014/Contracts"
    static let keys = "http://schemas.microsoft.com/xrm/7.1/Contracts"
    static let metadata = "http://schemas.microsoft.com/xrm/2011/Metadata"
    static let metadata2013 = "http://schemas.microsoft.com/xrm/2013/Metadata"
    static let metadata71 = "http://schemas.microsoft.com/xrm/7.1/Metadata"
    static let discovery = "http://schemas.microsoft.com/xrm/2011/Contracts/Discovery"
    static let pairs = "http://schemas.datacontract.org/2004/07/System.Collections.Generic"
    static let serialization = "http://schemas.microsoft.com/2003/10/Serialization/"
    static let arrays = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"

    /// The version that clients see: the last one of Dynamics 365's on-premises line.
    static let version = "9.1.0.0"
    static let emptyID = "00000000-0000-0000-0000-000000000000"

    /// Whether a namespace is one of the contracts.
    static func isContract(_ namespace: String) -> Bool {
        namespace.hasPrefix("http://schemas.microsoft.com/") || namespace.hasPrefix("http://schemas.datacontract.org/")
    }
}

/// The members of a data contract. Each occurs at most once, in any order. A nil member counts as missing.
struct ContractMembers {
    private var elements: [String: XMLElement] = [:]
    private let contract: String

    /// - Parameters:
    ///   - known: The members that this service supports.
    ///   - ignored: Members that have no meaning here and are ignored.
    /// - Throws: ``FieldsealError`` naming an unknown member with a value, or one that occurs twice.
    init(_ element: XMLElement, of contract: String, _ known: Set<String>, ignoring ignored: Set<String> = [])
        throws(FieldsealError)
    {
        self.contract = contract
        var seen: Set<String> = []
        for child in element.children {
            let name = child.name
            guard seen.insert(name.local).inserted else {
                throw FieldsealError(.payloadDoesNotFit, "\(contract) has \(name.local.quotedForFault) twice.")
            }
            guard Contract.isContract(name.namespace), known.contains(name.local) || ignored.contains(name.local) else {
                if child.isNil || child.isEmpty { continue }
                throw FieldsealError(
                    .payloadDoesNotFit, "\(contract) has no member \(name.local.quotedForFault) that this service knows.")
            }
            if !child.isNil, known.contains(name.local) { elements[name.local] = child }
        }
    }

    subscript(_ name: String) -> XMLElement? { elements[name] }

    func text(_ name: String) -> String? { elements[name]?.text }

    /// - Throws: ``FieldsealError`` naming a member whose text is not a boolean.
    func bool(_ name: String) throws(FieldsealError) -> Bool? {
        guard let element = elements[name] else { return nil }
        guard let flag = element.bool else { throw mismatch(name, "true or false") }
        return flag
    }

    /// - Throws: ``FieldsealError`` naming a member whose text is not an integer.
    func int(_ name: String) throws(FieldsealError) -> Int? {
        guard let element = elements[name] else { return nil }
        guard let number = Int(element.text.trimmed) else { throw mismatch(name, "an integer") }
        return number
    }

    /// - Throws: ``FieldsealError`` for a missing member.
    func required(_ name: String) throws(FieldsealError) -> XMLElement {
        guard let element = elements[name] else { throw FieldsealError(.payloadDoesNotFit, "\(contract) has no \(name).") }
        return element
    }

    func mismatch(_ name: String, _ expectation: String) -> FieldsealError {
        FieldsealError(.payloadDoesNotFit, "\(name) of \(contract) takes \(expectation).")
    }
}

extension XMLElement {
    /// `true`, `false`, `1` or `0`; nil for any other text.
    var bool: Bool? {
        switch text.trimmed {
        case "true", "1": true
        case "false", "0": false
        default: nil
        }
    }
}

extension String {
    /// A client's text for use in a message, cut to 100 characters.
    var quotedForFault: String { "'\(prefix(100))'" }
}
