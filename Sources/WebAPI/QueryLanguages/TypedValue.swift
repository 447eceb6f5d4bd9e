import Foundation
import JSON
import Model

/// A value of a condition: plain, or as `{"Type": "System.Int32", "Value": "2020"}`, where a value of any type may be written as a
/// text.
enum TypedValue {
    /// - Parameter name: The name of what is compared, for messages.
    /// - Throws: ``FieldsealError`` for a value that is not of the type that it names.
    static func value(_ value: JSONValue, comparedWith name: String) throws(FieldsealError) -> JSONValue {
        guard case .object(let members) = value else { return value }
        if let other = members.first(where: { !["Type", "Value"].contains($0.name) && !$0.name.contains("@") }) {
            throw FieldsealError(.badRequest, "A Value has a Type and a Value, and no member '\(other.name.prefix(100))'.")
        }
        guard var given = value["Value"] else {
            throw FieldsealError(.badRequest, "\(name.prefix(100)) is compared with an object without a Value.")
        }
        let type = value["Type"]?.string ?? ""
        if type.hasSuffix("[]"), let text = given.string {
            // Some clients write the texts of a list in single quotes, which JSON does not allow.
            let json = text.contains("\"") ? text : text.replacing("'", with: "\"")
            given = (try? JSONParser.parse(Array(json.utf8))) ?? given
        }
        let element = type.hasSuffix("[]") ? String(type.dropLast(2)) : type
        guard case .array(let elements) = given else { return try converted(given, element, name) }
        return .array(try elements.map { value throws(FieldsealError) in try converted(value, element, name) })
    }

    private static func converted(_ value: JSONValue, _ type: String, _ name: String) throws(FieldsealError) -> JSONValue {
        guard value != .null else { return value }
        switch (type, value) {
        case ("System.Int16", _), ("System.Int32", _), ("System.Int64", _):
            if case .integer = value { return value }
            if let number = value.string.flatMap({ Int64($0.trimmed) }) { return .integer(number) }
        case ("System.Boolean", _):
            if case .bool = value { return value }
            switch value.string?.lowercased() {
            case "true": return .bool(true)
            case "false": return .bool(false)
            default: break
            }
        case ("System.Guid", .string(let text)):
            if let id = UUID(text: text) { return .string(id.text) }
        case ("System.String", .string): return value
        case ("System.Guid", _), ("System.String", _): break
        default: return value
        }
        throw FieldsealError(.badRequest, "\(name.prefix(100)) is compared with a Value that is no \(type).")
    }
}
