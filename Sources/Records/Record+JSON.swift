import Foundation
import JSON
import Model
import PostgresClient

extension Record {
    /// Appends the value in a column as JSON, directly from PostgreSQL's bytes.
    package func writeJSON(_ column: RowShape.Column, to output: inout [UInt8]) throws {
        guard let index = column.index, !row.isNull(index) else {
            output.append(contentsOf: "null".utf8)
            return
        }
        switch column.kind {
        case .text: row.withBytes(index) { JSONValue.write($0, to: &output) }
        case .decimal where !row.isFinite(index): output.append(contentsOf: "null".utf8)
        case .decimal: row.withBytes(index) { output.append(contentsOf: $0) }
        case .boolean: output.append(contentsOf: (try row.decode(index, as: Bool.self) ? "true" : "false").utf8)
        case .integer: output.appendDecimal(try row.decode(index, as: Int.self))
        case .id:
            output.append(UInt8(ascii: "\""))
            output.append(try row.decode(index, as: UUID.self))
            output.append(UInt8(ascii: "\""))
        case .date:
            output.append(UInt8(ascii: "\""))
            output.append(try row.decode(index, as: Date.self))
            output.append(UInt8(ascii: "\""))
        case .bytes:
            let bytes = try row.decode(index, as: PostgresBytes.self).bytes
            JSONValue.write(Data(bytes).base64EncodedString(), to: &output)
        }
    }
}
