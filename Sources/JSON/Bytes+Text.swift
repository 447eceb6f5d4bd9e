package import Foundation

extension [UInt8] {
    /// Appends an id in lower-case hexadecimal with hyphens (RFC 9562 section 4).
    package mutating func append(_ id: UUID) {
        func digit(_ value: UInt8) -> UInt8 { value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") - 10 + value }
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 36) { text in
            var end = 0
            func put(_ byte: UInt8) {
                text.initializeElement(at: end, to: byte)
                end += 1
            }
            Swift.withUnsafeBytes(of: id.uuid) { bytes in
                for (index, byte) in bytes.enumerated() {
                    if index == 4 || index == 6 || index == 8 || index == 10 { put(UInt8(ascii: "-")) }
                    put(digit(byte >> 4))
                    put(digit(byte & 15))
                }
            }
            append(contentsOf: text)
        }
    }

    /// Appends an integer in decimal.
    package mutating func appendDecimal(_ number: Int) {
        if number < 0 { append(UInt8(ascii: "-")) }
        let number = number.magnitude
        var power: UInt = 1
        while number / power >= 10 { power *= 10 }
        while power > 0 {
            append(UInt8(ascii: "0") + UInt8(number / power % 10))
            power /= 10
        }
    }
}
