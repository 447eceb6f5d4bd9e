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
}
