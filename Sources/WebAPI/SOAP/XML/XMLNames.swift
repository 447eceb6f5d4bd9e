/// The names of a document, each stored once.
struct XMLNames {
    /// The names by their ids.
    private(set) var all: [XMLName] = []
    /// For each id, the id of its namespace.
    private var owners: [Int32] = []
    private var locals = Index()
    private var namespaces = Self.common

    /// The namespace id of names that have no namespace.
    static let none: Int32 = 0
    /// The id of the namespace of `xml:lang`.
    static let xml: Int32 = 1
    /// The id of the namespace of `xsi:type`.
    private static let instance: Int32 = 2
    /// The id of the namespace of declarations. A document may not bind a prefix to it.
    static let declarations: Int32 = 3

    /// Namespaces of most documents. The first four have the ids above.
    private static let common = {
        var index = Index()
        for name in [
            "", XMLNamespace.xml, XMLNamespace.instance, XMLNamespace.declarations, XMLNamespace.schema, Contract.services,
            Contract.xrm, Contract.pairs, SOAPVersion.v11.namespace,
        ] {
            _ = Array(name.utf8).withUnsafeBufferPointer { index.add(0, $0) }
        }
        return index
    }()

    /// Finds the id of a text. A few texts are compared one by one, because hashing would take longer.
    private struct Index {
        private struct Key: Hashable {
            let namespace: Int32
            let text: String
        }

        private(set) var texts: [String] = []
        private var entries: [(namespace: Int32, bytes: Range<Int32>)] = []
        /// The texts one after the other.
        private var bytes: [UInt8] = []
        /// The ids by text. Empty while there are at most ``few`` texts.
        private var ids: [Key: Int32] = [:]
        private static var few: Int { 24 }

        func id(_ namespace: Int32, _ text: UnsafeBufferPointer<UInt8>) -> Int32? {
            if !ids.isEmpty { return ids[Key(namespace: namespace, text: String(decoding: text, as: UTF8.self))] }
            return bytes.withUnsafeBufferPointer { bytes in
                entries.firstIndex { entry in
                    entry.namespace == namespace && entry.bytes.count == text.count
                        && bytes[Int(entry.bytes.lowerBound)..<Int(entry.bytes.upperBound)].elementsEqual(text)
                }
            }.map(Int32.init)
        }

        mutating func add(_ namespace: Int32, _ text: UnsafeBufferPointer<UInt8>) -> Int32 {
            let id = Int32(texts.count)
            texts.append(String(decoding: text, as: UTF8.self))
            if ids.isEmpty {
                let start = Int32(bytes.count)
                bytes.append(contentsOf: text)
                entries.append((namespace, start..<Int32(bytes.count)))
                guard texts.count > Self.few else { return id }
                for (number, entry) in entries.enumerated() {
                    ids[Key(namespace: entry.namespace, text: texts[number])] = Int32(number)
                }
            } else {
                ids[Key(namespace: namespace, text: texts[Int(id)])] = id
            }
            return id
        }
    }

    /// - Returns: Nil when the maximum number is reached.
    mutating func namespace(_ name: ArraySlice<UInt8>) -> Int32? {
        name.withUnsafeBufferPointer { name in
            if let id = namespaces.id(0, name) { return id }
            guard namespaces.texts.count < XMLReader.nameLimit else { return nil }
            return namespaces.add(0, name)
        }
    }

    /// - Returns: Nil when the maximum number is reached.
    mutating func name(_ namespace: Int32, _ local: ArraySlice<UInt8>) -> Int32? {
        local.withUnsafeBufferPointer { local in
            if let id = locals.id(namespace, local) { return id }
            guard all.count < XMLReader.nameLimit else { return nil }
            let id = locals.add(namespace, local)
            all.append(XMLName(namespaces.texts[Int(namespace)], locals.texts[Int(id)]))
            owners.append(namespace)
            return id
        }
    }

    /// Whether a name is of the namespace of `xsi:type`.
    func isOfInstance(_ name: Int32) -> Bool { owners[Int(name)] == Self.instance }

    /// Whether a name may begin with a byte: with a letter, `_`, or any byte beyond ASCII.
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
