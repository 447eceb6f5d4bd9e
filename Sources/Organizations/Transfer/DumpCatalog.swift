/// A dump's table of contents, as `pg_restore --list` prints it: what the dump holds in each schema.
package struct DumpCatalog: Sendable {
    /// A kind of entry that a restore needs.
    enum Kind: String {
        case table = "TABLE"
        case rows = "TABLE DATA"
        case view = "VIEW"
        case sequence = "SEQUENCE"
        case sequenceValue = "SEQUENCE SET"
        case function = "FUNCTION"
        case constraint = "CONSTRAINT"
        case index = "INDEX"
        case trigger = "TRIGGER"
        case rights = "ACL"
    }

    /// The schemas that the dump makes.
    package private(set) var schemas: Set<String> = []
    private var names: [String: [Kind: Set<String>]] = [:]

    package init(list: String) {
        for line in list.split(separator: "\n") where line.first?.isNumber == true {
            // A line is, for example, `266; 1259 17038 TABLE org_contoso encryption fieldseal_owner`.
            let words = line.split(separator: " ", maxSplits: 9).map(String.init)
            guard words.count > 6 else { continue }
            if words[3] == "SCHEMA" { schemas.insert(words[5]) }
            if let kind = Kind(rawValue: "\(words[3]) \(words[4])") {
                add(kind, in: words[5], words[6])
            } else if let kind = Kind(rawValue: words[3]) {
                add(kind, in: words[4], words[5])
            }
        }
    }

    private mutating func add(_ kind: Kind, in schema: String, _ name: String) {
        names[schema, default: [:]][kind, default: []].insert(name)
    }

    /// The names of a schema's entries of a kind. The name of an entry of rights is the kind of object that the rights apply to.
    func names(_ kind: Kind, in schema: String) -> Set<String> { names[schema]?[kind] ?? [] }
}
