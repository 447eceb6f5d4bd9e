/// The characters of XML 1.0.
enum XMLCharacter {
    /// Whether an ASCII byte needs no escape in text and in attribute values.
    static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "<"), UInt8(ascii: "&"), UInt8(ascii: "]"), UInt8(ascii: "\""), UInt8(ascii: "'"): false
        case 0x20...0x7E: true
        default: false
        }
    }

    /// Whether XML allows the character with this number (section 2.2).
    static func exists(_ number: UInt32) -> Bool {
        switch number {
        case 0x09, 0x0A, 0x0D, 0x20...0xD7FF, 0xE000...0xFFFD, 0x10000...0x10FFFF: true
        default: false
        }
    }

    /// The character of a reference with a number, such as `#8211` or `#x2013`; nil for a character that XML does not allow.
    ///
    /// - Parameter digits: The text after `#`.
    static func scalar(digits: ArraySlice<UInt8>) -> Unicode.Scalar? {
        let isHexadecimal = digits.first == UInt8(ascii: "x")
        let digits = isHexadecimal ? digits.dropFirst() : digits
        guard !digits.isEmpty, digits.count <= 11 else { return nil }
        var number: UInt64 = 0
        for digit in digits {
            guard let value = Character(Unicode.Scalar(digit)).hexDigitValue, isHexadecimal || value < 10 else { return nil }
            number = number * (isHexadecimal ? 16 : 10) + UInt64(value)
        }
        guard let number = UInt32(exactly: number), exists(number) else { return nil }
        return Unicode.Scalar(number)
    }

    /// The character of one of the five entities that XML itself has (section 4.6).
    static func entity(_ name: ArraySlice<UInt8>) -> UInt8? {
        if name.elementsEqual("amp".utf8) { return UInt8(ascii: "&") }
        if name.elementsEqual("lt".utf8) { return UInt8(ascii: "<") }
        if name.elementsEqual("gt".utf8) { return UInt8(ascii: ">") }
        if name.elementsEqual("quot".utf8) { return UInt8(ascii: "\"") }
        if name.elementsEqual("apos".utf8) { return UInt8(ascii: "'") }
        return nil
    }

    /// Whether a byte is white space (section 2.3).
    static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }

    /// The text without white space at its ends.
    static func trimmed(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let rest = text.drop(while: isSpace)
        return rest.prefix((rest.lastIndex { !isSpace($0) } ?? rest.startIndex - 1) + 1 - rest.startIndex)
    }

    /// A boolean of XML Schema; nil for another text.
    static func boolean(_ text: ArraySlice<UInt8>) -> Bool? {
        if text.elementsEqual("true".utf8) || text.elementsEqual("1".utf8) { return true }
        return text.elementsEqual("false".utf8) || text.elementsEqual("0".utf8) ? false : nil
    }
}
