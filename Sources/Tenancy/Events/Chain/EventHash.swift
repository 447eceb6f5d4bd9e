import CellCrypto
import Foundation
import JSON
import PostgresClient

/// SHA-256 over the previous event's hash and the event's own values, as the JSON array that PostgreSQL's jsonb prints.
enum EventHash {
    /// The hash in SQL, over the columns of `security_event`. The program sends this expression, because the database owner could
    /// replace a function.
    static let sql = """
        pg_catalog.sha256(coalesce(previous_hash, ''::bytea) OPERATOR(pg_catalog.||) pg_catalog.convert_to(pg_catalog.jsonb_build_array(
            security_event_id, (extract(epoch FROM occurred_on) OPERATOR(pg_catalog.*) 1000000)::bigint, kind, outcome, actor, address,
            request_id, key_version, fingerprint, details)::text, 'UTF8'))
        """

    static func of(_ values: [JSONValue], after previous: [UInt8]?) throws -> [UInt8] {
        try sha256((previous ?? []) + array(of: values))
    }

    /// A JSON array as PostgreSQL's jsonb prints it. Values are texts, whole numbers and null.
    static func array(of values: [JSONValue]) -> [UInt8] {
        var message = [UInt8(ascii: "[")]
        for (index, value) in values.enumerated() {
            if index > 0 { message += Array(", ".utf8) }
            switch value {
            case .string(let text): appendQuoted(text, to: &message)
            case .integer(let number): message += Array("\(number)".utf8)
            default: message += Array("null".utf8)
            }
        }
        message.append(UInt8(ascii: "]"))
        return message
    }

    /// A JSON string in PostgreSQL's form: short escapes where they exist, `\u00xx` for other control characters.
    private static func appendQuoted(_ text: String, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): output += [UInt8(ascii: "\\"), byte]
            case 8: output += Array("\\b".utf8)
            case 9: output += Array("\\t".utf8)
            case 10: output += Array("\\n".utf8)
            case 12: output += Array("\\f".utf8)
            case 13: output += Array("\\r".utf8)
            case 0..<32: output += Array("\\u00".utf8) + Array(hexadecimal([byte]).utf8)
            default: output.append(byte)
            }
        }
        output.append(UInt8(ascii: "\""))
    }
}
