/// Recognizes HTML in a text without a declared type.
enum HTMLTags {
    private static let names: Set<String> = [
        "html", "body", "p", "br", "div", "span", "table", "tr", "td", "a", "b", "i", "u", "em", "strong", "font", "img", "ul",
        "ol",
        "li", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "hr",
    ]

    /// Whether a text has a complete tag of an element that mail uses, such as `<br/>` or `<a href="…">`.
    static func occur(in text: String) -> Bool {
        let bytes = Array(text.utf8)
        var rest = bytes[...]
        while let start = rest.firstIndex(of: UInt8(ascii: "<")) {
            rest = bytes[(start + 1)...]
            if isTag(rest) { return true }
        }
        return false
    }

    /// Whether the bytes after a `<` complete a tag.
    private static func isTag(_ bytes: ArraySlice<UInt8>) -> Bool {
        let inside = bytes.first == UInt8(ascii: "/") ? bytes.dropFirst() : bytes
        let name = inside.prefix { byte in (0x61...0x7A).contains(byte | 0x20) || (0x30...0x39).contains(byte) }
        guard !name.isEmpty, name.count <= 10, names.contains(String(decoding: name, as: UTF8.self).lowercased()) else {
            return false
        }
        let behind = inside[name.endIndex...]
        guard let end = behind.firstIndex(where: { $0 == UInt8(ascii: ">") || $0 == UInt8(ascii: "<") }),
            bytes[end] == UInt8(ascii: ">")
        else { return false }
        let attributes = behind[..<end]
        let isSpaced = attributes.first.map { [0x20, 0x09, 0x0A, 0x0B, 0x0C, 0x0D].contains($0) } ?? true
        return isSpaced || attributes.elementsEqual([UInt8(ascii: "/")])
    }
}
