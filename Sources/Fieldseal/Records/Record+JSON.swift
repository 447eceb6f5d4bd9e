public import Foundation
import PostgresClient

extension Record {
    /// Appends the value in a column as JSON, straight from the bytes that PostgreSQL sent.
    public func writeJSON(_ column: RowShape.Column, to output: inout [UInt8]) throws {
        guard let index = column.index, !row.isNull(index) else {
            output.append(contentsOf: "null".utf8)
            return
        }
        switch column.type {
        case .string, .memo, .entityName: row.withBytes(index) { JSONValue.write($0, to: &output) }
        case .decimal: row.withBytes(index) { output.append(contentsOf: $0) }
        case .boolean: output.append(contentsOf: (try row.decode(index, as: Bool.self) ? "true" : "false").utf8)
        case .integer, .bigInt, .picklist, .state, .status: output.appendDecimal(try row.decode(index, as: Int.self))
        case .lookup, .owner, .uniqueIdentifier:
            output.append(UInt8(ascii: "\""))
            output.append(try row.decode(index, as: UUID.self))
            output.append(UInt8(ascii: "\""))
        case .dateTime:
            output.append(UInt8(ascii: "\""))
            output.append(contentsOf: ISO8601.text(try row.decode(index, as: Date.self)).utf8)
            output.append(UInt8(ascii: "\""))
        case .image:
            let bytes = try row.decode(index, as: PostgresBytes.self).bytes
            JSONValue.write(Data(bytes).base64EncodedString(), to: &output)
        }
    }
}

extension [UInt8] {
    /// Appends an id in lower-case hexadecimal with hyphens (RFC 9562 section 4).
    public mutating func append(_ id: UUID) {
        Swift.withUnsafeBytes(of: id.uuid) { bytes in
            for (index, byte) in bytes.enumerated() {
                if index == 4 || index == 6 || index == 8 || index == 10 { append(UInt8(ascii: "-")) }
                append(Self.digits[Int(byte >> 4)])
                append(Self.digits[Int(byte & 15)])
            }
        }
    }

    /// Appends an integer in decimal.
    public mutating func appendDecimal(_ number: Int) {
        if number >= 0, number < 10 { append(48 + UInt8(number)) } else { append(contentsOf: String(number).utf8) }
    }

    private static let digits = Array("0123456789abcdef".utf8)
}
