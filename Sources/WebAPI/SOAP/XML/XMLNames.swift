/// The names of a document, each kept once.
struct XMLNames {
    /// The names by their ids.
    private(set) var all: [XMLName] = []
    private var namespaces: [String] = ["", XMLNamespace.xml]
    private var namespaceIDs: [String: Int32] = ["": XMLNames.none, XMLNamespace.xml: XMLNames.xml]
    private var ids: [Key: Int32] = [:]

    /// The id of no namespace.
    static let none: Int32 = 0
    /// The id of the namespace of `xml:lang` and its like.
    static let xml: Int32 = 1

    private struct Key: Hashable {
        let namespace: Int32
        let local: String
    }

    /// - Returns: Nil when there are as many as there may be.
    mutating func namespace(_ name: String) -> Int32? {
        if let id = namespaceIDs[name] { return id }
        guard namespaces.count < XMLReader.nameLimit else { return nil }
        let id = Int32(namespaces.count)
        namespaces.append(name)
        namespaceIDs[name] = id
        return id
    }

    /// - Returns: Nil when there are as many as there may be.
    mutating func name(_ namespace: Int32, _ local: String) -> Int32? {
        let key = Key(namespace: namespace, local: local)
        if let id = ids[key] { return id }
        guard all.count < XMLReader.nameLimit else { return nil }
        let id = Int32(all.count)
        all.append(XMLName(namespaces[Int(namespace)], local))
        ids[key] = id
        return id
    }

    /// Letters, `_`, and everything beyond ASCII.
    static func isNameStart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), 0x80...: true
        default: false
        }
    }

    static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: ":"): true
        default: isNameStart(byte)
        }
    }
}
