import Foundation
import JSON
import Model
import Records

/// The value of `$skiptoken`: the end of a page. It contains no secret and grants nothing.
enum SkipToken {
    static func write(_ token: RecordQuery.PageToken) -> String {
        let values = JSONValue.array(
            [token.remaining.map { .integer(Int64($0)) } ?? .null, .integer(Int64(token.offset))] + token.values.map(JSONValue.text)
        )
        return Data(values.utf8).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    static func read(_ text: String) throws(FieldsealError) -> RecordQuery.PageToken {
        var base64 = text.replacing("-", with: "+").replacing("_", with: "/")
        base64 += String(repeating: "=", count: (4 - base64.count % 4) % 4)
        guard text.count <= 16_384, let data = Data(base64Encoded: base64),
            case .array(let values)? = try? JSONParser.parse(Array(data)), values.count >= 2, case .integer(let offset) = values[1],
            (0...Int64(Int32.max)).contains(offset)
        else { throw malformed }
        var token = RecordQuery.PageToken()
        token.offset = Int(offset)
        switch values[0] {
        case .null: break
        case .integer(let remaining) where remaining > 0: token.remaining = Int(remaining)
        default: throw malformed
        }
        for value in values.dropFirst(2) {
            switch value {
            case .null: token.values.append(nil)
            case .string(let text): token.values.append(text)
            default: throw malformed
            }
        }
        return token
    }

    private static var malformed: FieldsealError {
        FieldsealError(.queryDoesNotFit, "This $skiptoken was not made by this service. Follow @odata.nextLink as it is.")
    }
}
