import Model

/// The members of a data contract. Each member occurs at most once, in any order. A member with `i:nil` counts as missing.
struct ContractMembers {
    /// The members with a value. There are few members, so a search takes less time than hashing.
    private var elements: [(name: String, element: XMLElement)] = []
    private let contract: String

    /// - Parameters:
    ///   - known: The members that this service supports.
    ///   - ignored: Members that have no effect in this service.
    /// - Throws: ``FieldsealError`` naming an unknown member with a value, or a member that occurs twice.
    init(_ element: XMLElement, of contract: String, _ known: [String], ignoring ignored: [String] = [])
        throws(FieldsealError)
    {
        self.contract = contract
        var seen: [String] = []
        var strangers: Set<String> = []
        for child in element.children {
            let local = child.local
            guard !seen.contains(local), !strangers.contains(local) else {
                throw FieldsealError(.payloadDoesNotFit, "\(contract) has \(local.quotedForFault) twice.")
            }
            let isKnown = known.contains(local)
            if Contract.isContract(child.name.namespace), isKnown || ignored.contains(local) {
                seen.append(local)
                if isKnown, !child.isNil { elements.append((local, child)) }
            } else {
                guard child.isNil || child.isEmpty else {
                    throw FieldsealError(
                        .payloadDoesNotFit, "\(contract) has no member \(local.quotedForFault) that this service knows.")
                }
                strangers.insert(local)
            }
        }
    }

    subscript(_ name: String) -> XMLElement? { elements.first { $0.name == name }?.element }

    func text(_ name: String) -> String? { self[name]?.text }

    /// - Throws: ``FieldsealError`` naming a member whose text is not a boolean.
    func bool(_ name: String) throws(FieldsealError) -> Bool? {
        guard let element = self[name] else { return nil }
        guard let flag = element.bool else { throw mismatch(name, "true or false") }
        return flag
    }

    /// - Throws: ``FieldsealError`` naming a member whose text is not an integer.
    func int(_ name: String) throws(FieldsealError) -> Int? {
        guard let element = self[name] else { return nil }
        guard let number = Int(element.text.trimmed) else { throw mismatch(name, "an integer") }
        return number
    }

    /// - Throws: ``FieldsealError`` for a missing member.
    func required(_ name: String) throws(FieldsealError) -> XMLElement {
        guard let element = self[name] else { throw FieldsealError(.payloadDoesNotFit, "\(contract) has no \(name).") }
        return element
    }

    func mismatch(_ name: String, _ expectation: String) -> FieldsealError {
        FieldsealError(.payloadDoesNotFit, "\(name) of \(contract) takes \(expectation).")
    }
}
