import Model

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
