/// The name of an element, an attribute or a type, with its namespace.
struct XMLName: Hashable, Sendable {
    let namespace: String
    let local: String

    init(_ namespace: String, _ local: String) {
        self.namespace = namespace
        self.local = local
    }
}

/// Namespaces that every XML document may use.
enum XMLNamespace {
    static let xml = "http://www.w3.org/XML/1998/namespace"
    static let declarations = "http://www.w3.org/2000/xmlns/"
    static let instance = "http://www.w3.org/2001/XMLSchema-instance"
    static let schema = "http://www.w3.org/2001/XMLSchema"
}

/// An error in an XML document and its position. It never quotes text of the document.
struct XMLSyntaxError: Error, Sendable, Equatable, CustomStringConvertible {
    let reason: String
    /// The position in bytes of UTF-8.
    let offset: Int

    var description: String { "\(reason) (at byte \(offset))" }
}
