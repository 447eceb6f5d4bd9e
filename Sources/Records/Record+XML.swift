package import Foundation
import JSON
import Model
import PostgresClient

extension Record {
    /// Whether a value is null. A decimal that is not finite counts as null.
    package func isNull(_ place: RowShape.Place) -> Bool {
        row.isNull(place.index) || place.kind == .decimal && !row.isFinite(place.index)
    }

    /// A value that is an integer and not null.
    package func integer(_ place: RowShape.Place) throws -> Int { try row.decode(place.index) }

    /// A value that is a boolean and not null.
    package func flag(_ place: RowShape.Place) throws -> Bool { try row.decode(place.index) }

    /// A value that is a date and not null.
    package func moment(_ place: RowShape.Place) throws -> Date { try row.decode(place.index) }

    /// Appends a non-null value in XML Schema's form, directly from PostgreSQL's bytes.
    package func writeXML(_ place: RowShape.Place, to output: inout [UInt8]) throws {
        let index = place.index
        switch place.kind {
        case .text: row.withBytes(index) { output.appendXML($0) }
        case .decimal: row.withBytes(index) { output.append(contentsOf: $0) }
        case .boolean: output.append(contentsOf: (try row.decode(index, as: Bool.self) ? "true" : "false").utf8)
        case .integer: output.appendDecimal(try row.decode(index, as: Int.self))
        case .id: output.append(try row.decode(index, as: UUID.self))
        case .date: output.append(try row.decode(index, as: Date.self))
        case .bytes:
            output.append(contentsOf: Data(try row.decode(index, as: PostgresBytes.self).bytes).base64EncodedString().utf8)
        }
    }
}

extension [UInt8] {
    /// Appends UTF-8 as text of an XML element. Characters that XML 1.0 does not allow become U+FFFD.
    package mutating func appendXML(_ text: UnsafeRawBufferPointer) {
        var start = 0
        for index in text.indices where XMLMarkup.isMarkup[Int(text[index])] {
            guard index >= start, let (length, replacement) = XMLMarkup.replacement(in: text, at: index) else { continue }
            append(contentsOf: text[start..<index])
            append(contentsOf: replacement)
            start = index + length
        }
        append(contentsOf: text[start...])
    }
}

/// Characters that need an escape or a replacement in the text of an XML element.
private enum XMLMarkup {
    /// For each byte, whether it may begin a character that needs an escape or a replacement.
    static let isMarkup: [Bool] = (0..<256).map { byte in
        byte < 0x20 && byte != 0x09 && byte != 0x0A || [0x26, 0x3C, 0x3E, 0xEF].contains(byte)
    }

    private static let references: [UInt8: [UInt8]] = [
        UInt8(ascii: "&"): Array("&amp;".utf8), UInt8(ascii: "<"): Array("&lt;".utf8), UInt8(ascii: ">"): Array("&gt;".utf8),
        0x0D: Array("&#xD;".utf8),
    ]
    private static let unknown = Array("\u{FFFD}".utf8)

    /// The bytes to replace, and their replacement; nil for a character that is not replaced.
    static func replacement(in text: UnsafeRawBufferPointer, at index: Int) -> (length: Int, [UInt8])? {
        if let reference = references[text[index]] { return (1, reference) }
        guard text[index] == 0xEF else { return (1, unknown) }
        // Of the characters that begin with the byte 0xEF, only U+FFFE and U+FFFF are replaced.
        guard index + 2 < text.count, text[index + 1] == 0xBF, text[index + 2] >= 0xBE else { return nil }
        return (3, unknown)
    }
}
