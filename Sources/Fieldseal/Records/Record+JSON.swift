public import Foundation
import PostgresClient

extension Record {
    /// Appends the value in a column as JSON, straight from the bytes that PostgreSQL sent.
    public func writeJSON(_ column: RowShape.Column, to output: inout [UInt8]) throws {
        guard let index = column.index, !row.isNull(index) else {
            output.append(contentsOf: "null".utf8)
            return
        }
        switch column.form {
        case .text: row.withBytes(index) { JSONValue.write($0, to: &output) }
        case .number: row.withBytes(index) { output.append(contentsOf: $0) }
        case .boolean: output.append(contentsOf: (try row.decode(index, as: Bool.self) ? "true" : "false").utf8)
        case .integer: output.appendDecimal(try row.decode(index, as: Int.self))
        case .id:
            output.append(UInt8(ascii: "\""))
            output.append(try row.decode(index, as: UUID.self))
            output.append(UInt8(ascii: "\""))
        case .moment:
            output.append(UInt8(ascii: "\""))
            output.append(try row.decode(index, as: Date.self))
            output.append(UInt8(ascii: "\""))
        case .bytes:
            let bytes = try row.decode(index, as: PostgresBytes.self).bytes
            JSONValue.write(Data(bytes).base64EncodedString(), to: &output)
        }
    }
}

extension [UInt8] {
    /// Appends an id in lower-case hexadecimal with hyphens (RFC 9562 section 4).
    public mutating func append(_ id: UUID) {
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
    public mutating func appendDecimal(_ number: Int) {
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
