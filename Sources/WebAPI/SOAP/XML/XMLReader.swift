/// Parses an XML document (XML 1.0, Namespaces in XML 1.0) with fixed limits.
///
/// A document type is a syntax error. So only the five entities of XML exist, and nothing outside of the document is read.
/// Processing instructions are errors too, because SOAP has none.
struct XMLReader {
    /// How deeply elements are nested at most.
    static let depthLimit = 128
    /// How many elements a document has at most.
    static let elementLimit = 500_000
    /// How many attributes an element has at most, with its declarations of namespaces.
    static let attributeLimit = 32
    /// How many declarations of namespaces are in scope at most.
    static let namespaceLimit = 256
    /// How many different names a document has at most.
    static let nameLimit = 10_000
    /// The longest name or namespace in bytes.
    static let nameLength = 256

    private let bytes: [UInt8]
    private var position = 0
    private var nodes: [XMLDocument.Node] = []
    private var attributes: [XMLDocument.Attribute] = []
    private var text: [UInt8] = []
    private var names = XMLNames()
    private var open: [Open] = []
    /// The attributes of the current tag, without declarations of namespaces.
    private var raw: [RawAttribute] = []
    /// The declarations of namespaces in scope. The prefix is a range of the document's bytes.
    private var bindings: [(prefix: Range<Int>, namespace: Int32)] = []

    /// An element whose end tag was not read yet.
    private struct Open {
        let index: Int
        let qualifiedName: Range<Int>
        let bindings: Int
        /// The start of text that does not belong to a child element.
        var textStart: Int
        var hasChildren = false
    }

    private init(_ bytes: [UInt8]) {
        self.bytes = bytes
        // These are estimates: an element takes more than 32 bytes, and at most half of the document is text.
        nodes.reserveCapacity(bytes.count / 32)
        text.reserveCapacity(bytes.count / 2)
    }

    /// - Parameter charset: The `charset` of the message's content type.
    /// - Throws: ``XMLSyntaxError``; it never quotes the document.
    static func read(_ bytes: [UInt8], charset: String? = nil) throws(XMLSyntaxError) -> XMLDocument {
        var reader = XMLReader(try XMLEncoding.utf8(bytes, charset: charset))
        try reader.document()
        return XMLDocument(
            nodes: reader.nodes, names: reader.names.all, attributes: reader.attributes, text: reader.text)
    }

    private func error(_ reason: String) -> XMLSyntaxError { XMLSyntaxError(reason: reason, offset: position) }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func isAt(_ literal: StaticString) -> Bool {
        guard position + literal.utf8CodeUnitCount <= bytes.count else { return false }
        for offset in 0..<literal.utf8CodeUnitCount where bytes[position + offset] != literal.utf8Start[offset] { return false }
        return true
    }

    private mutating func take(_ literal: StaticString) throws(XMLSyntaxError) {
        guard isAt(literal) else { throw error("expected \(literal)") }
        position += literal.utf8CodeUnitCount
    }

    /// - Returns: Whether there was any white space.
    @discardableResult
    private mutating func skipSpace() -> Bool {
        let start = position
        while let byte = next, XMLCharacter.isSpace(byte) { position += 1 }
        return position > start
    }

    // MARK: The document

    private mutating func document() throws(XMLSyntaxError) {
        if isAt("<?xml") { try declaration() }
        while true {
            skipSpace()
            guard isAt("<!--") else { break }
            try comment()
        }
        guard next == UInt8(ascii: "<") else { throw error("the document has no element") }
        repeat { try content() } while !open.isEmpty
        while true {
            skipSpace()
            if position == bytes.count { return }
            guard isAt("<!--") else { throw error("more text after the root element") }
            try comment()
        }
    }

    private mutating func declaration() throws(XMLSyntaxError) {
        let start = position
        while let byte = next, byte != UInt8(ascii: ">"), position - start < 200 { position += 1 }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        let pattern =
            /<\?xml\s+version\s*=\s*(?:"1\.0"|'1\.0')(?:\s+encoding\s*=\s*(?:"[A-Za-z0-9._\-]+"|'[A-Za-z0-9._\-]+'))?(?:\s+standalone\s*=\s*(?:"(?:yes|no)"|'(?:yes|no)'))?\s*\?/
        guard next == UInt8(ascii: ">"), text.wholeMatch(of: pattern) != nil else {
            position = start
            throw error("the XML declaration is malformed, or of another version than 1.0")
        }
        position += 1
    }

    private mutating func comment() throws(XMLSyntaxError) {
        try take("<!--")
        while !isAt("--") {
            guard position < bytes.count else { throw error("a comment has no end") }
            try checkCharacter()
            position += 1
        }
        try take("-->")
    }

    /// Reads a tag, or text up to the next tag.
    private mutating func content() throws(XMLSyntaxError) {
        guard let byte = next else { throw error("the document ends within an element") }
        guard byte == UInt8(ascii: "<") else { return try characters() }
        if isAt("<!--") { return try comment() }
        if isAt("<![CDATA[") { return try section() }
        if isAt("</") { return try endTag() }
        if isAt("<!") { throw error("the document declares a document type, which is not read") }
        if isAt("<?") { throw error("the document has a processing instruction, which is not read") }
        try startTag()
    }

    // MARK: Text

    private mutating func characters() throws(XMLSyntaxError) {
        guard !open.isEmpty else { throw error("text outside of the root element") }
        while true {
            plainText()
            guard let byte = next, byte != UInt8(ascii: "<") else { return }
            if byte == UInt8(ascii: "&") {
                try reference()
            } else {
                if byte == UInt8(ascii: "]"), isAt("]]>") { throw error("the end of a CDATA section without its start") }
                try character()
            }
        }
    }

    private mutating func section() throws(XMLSyntaxError) {
        guard !open.isEmpty else { throw error("a CDATA section outside of the root element") }
        try take("<![CDATA[")
        while !isAt("]]>") {
            guard position < bytes.count else { throw error("a CDATA section has no end") }
            try character()
        }
        position += 3
    }

    /// Appends the bytes up to the next byte that may have a special meaning in text or in attribute values.
    private mutating func plainText() {
        let start = position
        while let byte = next, XMLCharacter.isPlain(byte) { position += 1 }
        text.append(contentsOf: bytes[start..<position])
    }

    /// Appends one byte of text. Each end of a line becomes one line feed (XML 1.0 section 2.11).
    private mutating func character() throws(XMLSyntaxError) {
        try checkCharacter()
        let byte = bytes[position]
        position += 1
        if byte == 0x0D {
            if next == 0x0A { position += 1 }
            text.append(0x0A)
        } else {
            text.append(byte)
        }
    }

    /// Refuses characters that XML 1.0 does not allow: control characters, U+FFFE and U+FFFF.
    private func checkCharacter() throws(XMLSyntaxError) {
        let byte = bytes[position]
        if byte < 0x20, byte != 0x09, byte != 0x0A, byte != 0x0D { throw error("a control character") }
        if byte == 0xEF, position + 2 < bytes.count, bytes[position + 1] == 0xBF, bytes[position + 2] >= 0xBE {
            throw error("a character that XML does not have")
        }
    }

    /// Appends the character of a reference `&…;`.
    private mutating func reference() throws(XMLSyntaxError) {
        position += 1
        let start = position
        while let byte = next, byte != UInt8(ascii: ";"), position - start < 12 { position += 1 }
        guard next == UInt8(ascii: ";") else { throw error("an & that begins no reference: write &amp;") }
        let name = bytes[start..<position]
        position += 1
        if name.first == UInt8(ascii: "#") {
            guard let scalar = XMLCharacter.scalar(digits: name.dropFirst()) else {
                throw error("a reference to a character that XML does not have")
            }
            text.append(contentsOf: String(scalar).utf8)
        } else {
            guard let byte = XMLCharacter.entity(name) else { throw error("an entity that XML itself does not have") }
            text.append(byte)
        }
    }

    // MARK: Tags

    private mutating func qualifiedName() throws(XMLSyntaxError) -> Range<Int> {
        let start = position
        while let byte = next, XMLNames.isNameByte(byte) { position += 1 }
        guard position > start, XMLNames.isNameStart(bytes[start]) else { throw error("expected a name") }
        guard position - start <= Self.nameLength else { throw error("a name longer than \(Self.nameLength) bytes") }
        return start..<position
    }

    /// Skips the white space between elements, and refuses other text there.
    private mutating func endText() throws(XMLSyntaxError) {
        guard let last = open.indices.last else { return }
        let start = open[last].textStart
        guard text[start...].allSatisfy(XMLCharacter.isSpace) else {
            throw error("text beside elements")
        }
        text.removeLast(text.count - start)
    }

    private mutating func startTag() throws(XMLSyntaxError) {
        guard open.count < Self.depthLimit else { throw error("elements nested deeper than \(Self.depthLimit)") }
        guard nodes.count < Self.elementLimit else { throw error("more than \(Self.elementLimit) elements") }
        try endText()
        if let last = open.indices.last { open[last].hasChildren = true }
        position += 1
        let name = try qualifiedName()
        let outer = bindings.count
        try readAttributes()
        let isClosed = next == UInt8(ascii: "/")
        if isClosed { position += 1 }
        try take(">")
        let index = nodes.count
        nodes.append(.init(name: try resolve(bytes[name], usesDefault: true)))
        if !raw.isEmpty { try resolveAttributes(of: index) }
        open.append(Open(index: index, qualifiedName: name, bindings: outer, textStart: text.count))
        if isClosed { try close() }
    }

    /// An attribute in a tag, with its value.
    private struct RawAttribute {
        let name: Range<Int>
        let text: Range<Int32>
    }

    /// Reads the attributes of a tag. Declarations of namespaces take effect at once. Other attributes are resolved later.
    private mutating func readAttributes() throws(XMLSyntaxError) {
        raw.removeAll(keepingCapacity: true)
        let outer = bindings.count
        var count = 0
        while true {
            let hasSpace = skipSpace()
            guard let byte = next, byte != UInt8(ascii: ">"), byte != UInt8(ascii: "/") else { return }
            guard hasSpace else { throw error("expected white space before an attribute") }
            count += 1
            guard count <= Self.attributeLimit else { throw error("more than \(Self.attributeLimit) attributes") }
            let name = try qualifiedName()
            skipSpace()
            try take("=")
            skipSpace()
            let start = text.count
            try attributeValue()
            guard let prefix = declaredPrefix(name) else {
                raw.append(RawAttribute(name: name, text: Int32(start)..<Int32(text.count)))
                continue
            }
            try bind(prefix, text[start...], outer)
            text.removeLast(text.count - start)
        }
    }

    /// The prefix that an attribute declares, empty for the default namespace; nil for an attribute that is not a declaration.
    private func declaredPrefix(_ name: Range<Int>) -> Range<Int>? {
        guard bytes[name].starts(with: "xmlns".utf8) else { return nil }
        let end = name.lowerBound + 5
        if end == name.upperBound { return end..<end }
        // `xmlns:` without a prefix is a malformed name.
        return bytes[end] == UInt8(ascii: ":") && end + 1 < name.upperBound ? (end + 1)..<name.upperBound : nil
    }

    private mutating func bind(_ prefix: Range<Int>, _ namespace: ArraySlice<UInt8>, _ outer: Int) throws(XMLSyntaxError) {
        guard namespace.count <= Self.nameLength else { throw error("a namespace longer than \(Self.nameLength) bytes") }
        guard bindings.count < Self.namespaceLimit else { throw error("more than \(Self.namespaceLimit) namespaces") }
        guard let id = names.namespace(namespace) else { throw error("more than \(Self.nameLimit) names") }
        let name = bytes[prefix]
        guard !name.elementsEqual("xmlns".utf8), name.elementsEqual("xml".utf8) == (id == XMLNames.xml),
            id != XMLNames.declarations, prefix.isEmpty || id != XMLNames.none, !name.contains(UInt8(ascii: ":"))
        else { throw error("a prefix that can't be declared like this") }
        guard !bindings[outer...].contains(where: { bytes[$0.prefix].elementsEqual(name) }) else {
            throw error("a prefix declared twice")
        }
        bindings.append((prefix, id))
    }

    /// The namespace in scope for a prefix.
    private func namespace(_ prefix: ArraySlice<UInt8>) throws(XMLSyntaxError) -> Int32 {
        if let bound = bindings.last(where: { bytes[$0.prefix].elementsEqual(prefix) }) { return bound.namespace }
        if prefix.isEmpty { return XMLNames.none }
        guard prefix.elementsEqual("xml".utf8) else { throw error("a prefix that is not declared") }
        return XMLNames.xml
    }

    private mutating func attributeValue() throws(XMLSyntaxError) {
        guard let quote = next, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else {
            throw error("expected the value of an attribute in quotes")
        }
        position += 1
        while true {
            plainText()
            guard let byte = next, byte != quote else { break }
            switch byte {
            case UInt8(ascii: "<"): throw error("< in the value of an attribute")
            case UInt8(ascii: "&"): try reference()
            case 0x09, 0x0A, 0x0D:
                // Each white space character becomes a space (XML 1.0 section 3.3.3).
                if byte == 0x0D, position + 1 < bytes.count, bytes[position + 1] == 0x0A { position += 1 }
                position += 1
                text.append(0x20)
            default: try character()
            }
        }
        guard next == quote else { throw error("the value of an attribute has no end") }
        position += 1
    }

    /// The id of a name in a tag or in `xsi:type`, by the namespaces in scope.
    private mutating func resolve(_ name: ArraySlice<UInt8>, usesDefault: Bool) throws(XMLSyntaxError) -> Int32 {
        let colon = name.firstIndex(of: UInt8(ascii: ":"))
        let local = colon.map { name[($0 + 1)...] } ?? name
        guard let first = local.first, XMLNames.isNameStart(first), !local.contains(UInt8(ascii: ":")),
            colon == nil || XMLNames.isNameStart(name[name.startIndex])
        else { throw error("a malformed name") }
        let isQualified = colon != nil || usesDefault
        let namespace = isQualified ? try namespace(name[..<(colon ?? name.startIndex)]) : XMLNames.none
        guard let id = names.name(namespace, local) else { throw error("more than \(Self.nameLimit) names") }
        return id
    }

    /// Resolves the attributes of an element, and separates `xsi:type` and `xsi:nil`.
    private mutating func resolveAttributes(of index: Int) throws(XMLSyntaxError) {
        let first = attributes.count
        var seen: [Int32] = []
        for attribute in raw {
            let id = try resolve(bytes[attribute.name], usesDefault: false)
            guard !seen.contains(id) else { throw error("an attribute that occurs twice") }
            if raw.count > 1 { seen.append(id) }
            let local = names.all[Int(id)].local
            guard names.isOfInstance(id), local == "type" || local == "nil" else {
                attributes.append(.init(name: id, text: attribute.text))
                continue
            }
            let value = XMLCharacter.trimmed(text[Int(attribute.text.lowerBound)..<Int(attribute.text.upperBound)])
            if local == "type" {
                nodes[index].type = try resolve(value, usesDefault: true)
            } else {
                guard let isNil = XMLCharacter.boolean(value) else { throw error("xsi:nil takes true or false") }
                nodes[index].isNil = isNil
            }
        }
        nodes[index].attributes = Int32(first)..<Int32(attributes.count)
    }

    private mutating func endTag() throws(XMLSyntaxError) {
        guard let element = open.last else { throw error("an end tag without its start tag") }
        position += 2
        let name = try qualifiedName()
        guard bytes[name] == bytes[element.qualifiedName] else { throw error("an end tag of another element") }
        skipSpace()
        try take(">")
        try close()
    }

    private mutating func close() throws(XMLSyntaxError) {
        guard let element = open.last else { return }
        if element.hasChildren {
            try endText()
        } else {
            nodes[element.index].text = Int32(element.textStart)..<Int32(text.count)
        }
        guard !nodes[element.index].isNil || !element.hasChildren && nodes[element.index].text.isEmpty else {
            throw error("an element that is nil has content")
        }
        nodes[element.index].end = Int32(nodes.count)
        bindings.removeLast(bindings.count - element.bindings)
        open.removeLast()
        if let last = open.indices.last { open[last].textStart = text.count }
    }
}
