/// The attributes of one tag.
struct HTMLTag {
    /// How many attributes of a tag are parsed.
    private static let limit = 200

    private let attributes: [String: String]

    init(_ tag: Substring) {
        var attributes: [String: String] = [:]
        var rest = tag.utf8.dropFirst().drop { !$0.isBlank && $0 != UInt8(ascii: "/") }
        while attributes.count < Self.limit {
            rest = rest.drop { $0.isBlank || $0 == UInt8(ascii: "/") }
            let name = rest.prefix { !$0.isBlank && !"=/>".utf8.contains($0) }
            guard !name.isEmpty else {
                guard let next = rest.first, next != UInt8(ascii: ">") else { break }
                rest = rest.dropFirst()
                continue
            }
            rest = rest.dropFirst(name.count).drop(while: \.isBlank)
            var value = rest.prefix(0)
            if rest.first == UInt8(ascii: "=") {
                rest = rest.dropFirst().drop(while: \.isBlank)
                if let quote = rest.first, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") {
                    value = rest.dropFirst().prefix { $0 != quote }
                    rest = rest.dropFirst(value.count + 2)
                } else {
                    value = rest.prefix { !$0.isBlank && $0 != UInt8(ascii: ">") }
                    rest = rest.dropFirst(value.count)
                }
            }
            let key = String(Substring(name)).lowercased()
            if attributes[key] == nil { attributes[key] = String(Substring(value)) }
        }
        self.attributes = attributes
    }

    /// The value of an attribute, with its character references not decoded; nil if the tag does not have the attribute.
    subscript(_ name: String) -> String? { attributes[name] }

    /// Whether an attribute has a value that is not blank, and not `#`.
    func has(_ name: String) -> Bool {
        guard let value = attributes[name] else { return false }
        return value != "#" && value.contains { !$0.isWhitespace }
    }

    /// Whether the tag's style has a picture.
    var hasPicture: Bool { attributes["style"]?.lowercased().contains("url(") ?? false }

    /// Whether the element is at most one point large, like tracking pictures.
    var isPoint: Bool {
        guard let width = points("width"), let height = points("height") else { return false }
        return width <= 1 && height <= 1
    }

    private func points(_ name: String) -> Int? {
        if let value = attributes[name] { return Int(value.prefix { $0.isNumber }) }
        return nil
    }
}
