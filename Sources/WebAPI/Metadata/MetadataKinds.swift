import JSON
import Model
import Records

/// What members a list of metadata has, and of which kinds their values are. Each member is looked up once.
struct MetadataKinds {
    private let values: [JSONValue]
    private var known: [String: (isThere: Bool, kinds: Set<String>)] = [:]

    init(_ values: [JSONValue]) {
        self.values = values
    }

    /// The kinds of values that a member has, such as `text`.
    ///
    /// - Throws: ``FieldsealError`` for a member that none of the metadata has.
    mutating func kinds(of column: RecordQuery.Column) throws(FieldsealError) -> Set<String> {
        let path = column.path + [column.name]
        let name = path.joined(separator: "/")
        let found = known[name] ?? lookUp(path)
        known[name] = found
        guard found.isThere || values.isEmpty else {
            throw FieldsealError(.queryDoesNotFit, "'\(name.prefix(100))' is not a member of this metadata.")
        }
        return found.kinds
    }

    private func lookUp(_ path: [String]) -> (isThere: Bool, kinds: Set<String>) {
        var isThere = false
        var kinds: Set<String> = []
        for value in values {
            var current: JSONValue? = value
            for step in path where current != .null { current = current?[step] }
            guard let current else { continue }
            isThere = true
            if let kind = MetadataMembers.kind(of: current) { kinds.insert(kind) }
        }
        return (isThere, kinds)
    }
}
