import Foundation

/// The encoding of an XML document (XML 1.0 appendix F). The encoding is given by the byte order mark, the message or the
/// declaration.
enum XMLEncoding {
    private enum Known {
        case utf8, utf16BigEndian, utf16LittleEndian, latin1
    }

    /// The document as UTF-8, without a byte order mark.
    ///
    /// - Parameter charset: The `charset` of the message's content type.
    /// - Throws: ``XMLSyntaxError`` for an unknown encoding, for two different encodings, and for bytes that the encoding does not
    /// allow.
    static func utf8(_ bytes: [UInt8], charset: String?) throws(XMLSyntaxError) -> [UInt8] {
        let (encoding, mark) = try Self.encoding(of: bytes, charset: charset)
        switch encoding {
        case .utf8:
            let text = mark == 0 ? bytes : Array(bytes.dropFirst(mark))
            guard String(validating: text, as: UTF8.self) != nil else { throw error("the document is not UTF-8") }
            return text
        case .latin1: return Array(String(decoding: bytes.map { UInt16($0) }, as: UTF16.self).utf8)
        case .utf16BigEndian, .utf16LittleEndian:
            let text = bytes.dropFirst(mark)
            guard text.count % 2 == 0 else { throw error("the document is not UTF-16: it has an odd number of bytes") }
            let (high, low) = encoding == .utf16BigEndian ? (0, 1) : (1, 0)
            let units = stride(from: text.startIndex, to: text.endIndex, by: 2).map { (index: Int) -> UInt16 in
                UInt16(text[index + high]) << 8 | UInt16(text[index + low])
            }
            guard let string = String(validating: units, as: UTF16.self) else {
                throw error("the document is not UTF-16: it has half of a surrogate pair")
            }
            return Array(string.utf8)
        }
    }

    private static func encoding(of bytes: [UInt8], charset: String?) throws(XMLSyntaxError) -> (Known, mark: Int) {
        let named = try charset.map { name throws(XMLSyntaxError) in try known(name) }
        let start = bytes.prefix(4)
        let found: (Known, mark: Int)? =
            if start.starts(with: [0xEF, 0xBB, 0xBF]) {
                (.utf8, 3)
            } else if start.starts(with: [0xFE, 0xFF]) {
                (.utf16BigEndian, 2)
            } else if start.starts(with: [0xFF, 0xFE]) {
                (.utf16LittleEndian, 2)
            } else if start.starts(with: [0x00, 0x3C]) {
                (.utf16BigEndian, 0)
            } else if start.starts(with: [0x3C, 0x00]) {
                (.utf16LittleEndian, 0)
            } else {
                nil
            }
        if let found {
            let is16 = found.0 != .utf8
            if case .some(let named?) = named, is16 != (named != .utf8) || named == .latin1 {
                throw error("the document has another encoding than its content type says")
            }
            return found
        }
        let declared = try declaration(bytes).map { name throws(XMLSyntaxError) in try known(name) } ?? nil
        switch (named ?? nil, declared) {
        case (.utf16BigEndian?, _), (.utf16LittleEndian?, _), (nil, .utf16BigEndian?), (nil, .utf16LittleEndian?):
            throw error("the document is not UTF-16, as it says that it is")
        case (let encoding?, _), (nil, let encoding?): return (encoding, 0)
        case (nil, nil): return (.utf8, 0)
        }
    }

    /// The encoding in the XML declaration, of a document that begins with ASCII characters.
    private static func declaration(_ bytes: [UInt8]) -> String? {
        guard bytes.starts(with: "<?xml".utf8), let end = bytes.prefix(200).firstIndex(of: UInt8(ascii: ">")) else { return nil }
        let text = String(decoding: bytes[..<end], as: UTF8.self)
        guard let match = text.firstMatch(of: /encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._\-]*)["']/) else { return nil }
        return String(match.1)
    }

    private static func known(_ name: String) throws(XMLSyntaxError) -> Known? {
        switch name.lowercased() {
        case "utf-8", "utf8", "us-ascii": return .utf8
        case "utf-16", "utf-16le", "unicode": return .utf16LittleEndian
        case "utf-16be": return .utf16BigEndian
        case "iso-8859-1": return .latin1
        default: throw error("the document has an encoding that is not read: send UTF-8 or UTF-16")
        }
    }

    private static func error(_ reason: String) -> XMLSyntaxError { XMLSyntaxError(reason: reason, offset: 0) }
}
