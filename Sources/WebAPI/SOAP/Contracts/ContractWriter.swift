import Records

/// Writes elements of data contracts. The prefixes are those of Dynamics 365, because scripts search for them. `i` is
/// XMLSchema-instance, and other namespaces get letters in order, each declared at its first use.
struct ContractWriter {
    var output: [UInt8] = []
    /// The prefixes by namespace: each with its colon, or empty for the default namespace.
    private var scope: [(namespace: String, prefix: String)] = []

    init() { output.reserveCapacity(2_048) }

    /// Registers a prefix that is declared on an element outside of this writer.
    mutating func declare(_ namespace: String, as prefix: String) {
        scope.append((namespace, prefix.isEmpty ? "" : "\(prefix):"))
    }

    /// The current prefix of a namespace, with its colon.
    private func prefix(_ namespace: String) -> String? {
        for index in scope.indices.reversed() where scope[index].namespace == namespace {
            let prefix = scope[index].prefix
            guard !scope[(index + 1)...].contains(where: { $0.prefix == prefix }) else { continue }
            return prefix
        }
        return nil
    }

    /// The letters of the current prefix of a namespace.
    func letter(of namespace: String) -> String { String((prefix(namespace) ?? "").dropLast()) }

    private mutating func declared(_ namespace: String, _ declarations: inout String) -> String {
        if let prefix = prefix(namespace) { return prefix }
        let new: String
        if namespace == XMLNamespace.instance {
            new = Self.instance
        } else {
            let letters = scope.count(where: { !$0.prefix.isEmpty && $0.prefix != Self.instance && $0.prefix != "s:" })
            // Skips the letter `i`, because `i` is the prefix of XMLSchema-instance.
            let ordinal = letters < 8 ? letters : letters + 1
            new = Self.letters[min(ordinal, Self.letters.count - 1)]
        }
        scope.append((namespace, new))
        declarations += " xmlns:"
        declarations += new.dropLast()
        declarations += "=\""
        declarations += namespace
        declarations += "\""
        return new
    }

    /// The prefix of XMLSchema-instance, and the prefixes of other namespaces.
    private static let instance = "i:"
    private static let letters = (UInt8(ascii: "a")...UInt8(ascii: "z")).map { "\(Unicode.Scalar($0)):" }

    /// Writes an element with the contents that `body` writes.
    ///
    /// - Parameters:
    ///   - type: The value of `i:type`.
    ///   - declaring: Namespaces that the element's contents need.
    mutating func element(
        _ local: String, _ namespace: String, type: XMLName? = nil, declaring: [String] = [], _ body: (inout Self) throws -> Void
    ) rethrows {
        let outer = scope.count
        defer { scope.removeSubrange(outer...) }
        var declarations = ""
        let prefix = declared(namespace, &declarations)
        write("<")
        write(prefix)
        write(local)
        for namespace in declaring { _ = declared(namespace, &declarations) }
        if let type {
            let instance = declared(XMLNamespace.instance, &declarations)
            write(" \(instance)type=\"\(declared(type.namespace, &declarations))\(type.local)\"")
        }
        write(declarations)
        write(">")
        let start = output.count
        try body(&self)
        if output.count == start {
            output[start - 1] = UInt8(ascii: "/")
            output.append(UInt8(ascii: ">"))
        } else {
            write("</")
            write(prefix)
            write(local)
            write(">")
        }
    }

    /// Writes an element with a default namespace for its contents.
    mutating func root(_ local: String, default namespace: String, _ body: (inout Self) throws -> Void) rethrows {
        scope.append((namespace, ""))
        defer { scope.removeLast() }
        write("<\(local) xmlns=\"\(namespace)\">")
        try body(&self)
        write("</\(local)>")
    }

    /// Writes an element with a text.
    mutating func text(_ local: String, _ namespace: String, type: XMLName? = nil, _ text: String) {
        element(local, namespace, type: type) { $0.output.appendXML(text) }
    }

    /// Writes an element with a text, or an element with `i:nil` if there is no text.
    mutating func optional(_ local: String, _ namespace: String, _ text: String?) {
        if let text { self.text(local, namespace, text) } else { null(local, namespace) }
    }

    /// Writes an element with `i:nil`, which stands for null.
    mutating func null(_ local: String, _ namespace: String) {
        let outer = scope.count
        defer { scope.removeSubrange(outer...) }
        var declarations = ""
        let name = "\(declared(namespace, &declarations))\(local)"
        let instance = declared(XMLNamespace.instance, &declarations)
        write("<\(name) \(instance)nil=\"true\"\(declarations)/>")
    }

    mutating func write(_ markup: String) { output.append(contentsOf: markup.utf8) }
}

extension [UInt8] {
    /// Appends a text as XML. Characters that XML 1.0 does not allow become U+FFFD.
    mutating func appendXML(_ text: String) {
        var text = text
        text.withUTF8 { appendXML(UnsafeRawBufferPointer($0)) }
    }
}
