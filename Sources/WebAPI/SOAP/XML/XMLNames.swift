/// The names of a document, each stored once.
struct XMLNames {
    /// The names by their ids.
    private(set) var all: [XMLName] = []
    private var namespaces = Index(Self.common)
    private var ids = Index<Key>([])

    /// The id of no namespace.
    static let none: Int32 = 0
    /// The id of the namespace of `xml:lang`.
    static let xml: Int32 = 1

    /// Namespaces of most documents. The first two have the ids above.
    private static let common = [
        "", XMLNamespace.xml, XMLNamespace.instance, XMLNamespace.schema, Contract.services, Contract.xrm, Contract.pairs,
        SOAPVersion.v11.namespace,
    ]

    private struct Key: Hashable {
        let namespace: Int32
        let local: String
    }

    /// Finds the index of a key. A few keys are compared one by one, because hashing would take longer.
    private struct Index<Element: Hashable> {
        private(set) var keys: [Element]
        private var ids: [Element: Int32] = [:]
        private static var few: Int { 24 }

        init(_ keys: [Element]) { self.keys = keys }

        func id(_ key: Element) -> Int32? {
            ids.isEmpty ? keys.firstIndex(of: key).map(Int32.init) : ids[key]
        }

        mutating func add(_ key: Element) -> Int32 {
            let id = Int32(keys.count)
            keys.append(key)
            if !ids.isEmpty {
                ids[key] = id
            } else if keys.count > Self.few {
                for (index, key) in keys.enumerated() { ids[key] = Int32(index) }
            }
            return id
        }
    }

    /// - Returns: Nil when the maximum number is reached.
    mutating func namespace(_ name: String) -> Int32? {
        if let id = namespaces.id(name) { return id }
        guard namespaces.keys.count < XMLReader.nameLimit else { return nil }
        return namespaces.add(name)
    }

    /// - Returns: Nil when the maximum number is reached.
    mutating func name(_ namespace: Int32, _ local: String) -> Int32? {
        let key = Key(namespace: namespace, local: local)
        if let id = ids.id(key) { return id }
        guard all.count < XMLReader.nameLimit else { return nil }
        all.append(XMLName(namespaces.keys[Int(namespace)], local))
        return ids.add(key)
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
