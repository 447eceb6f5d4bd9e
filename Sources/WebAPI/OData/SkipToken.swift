import Crypto
import Foundation
import JSON
import Model
import Records

/// The value of `$skiptoken`, which says where a page ended. A skip token contains no secret and grants nothing.
enum SkipToken {
    /// - Parameter mark: Identifies the query.
    static func write(_ token: RecordQuery.PageToken, _ mark: String) -> String {
        let place: [JSONValue] = [token.remaining.map { .integer(Int64($0)) } ?? .null, .integer(Int64(token.offset))]
        let values = JSONValue.array([.string(mark)] + place + token.values.map(JSONValue.text))
        return Data(values.utf8).base64URL
    }

    /// Identifies the records of a query and their order, so that a token of another query is recognized.
    static func mark(of entity: EntityDefinition, _ options: [(name: String, value: String)]) -> String {
        let deciding = options.filter { ["$filter", "$orderby", "$apply", "sql"].contains($0.name) || $0.name.hasPrefix("@") }
        return mark(of: [entity.logicalName] + deciding.sorted { $0.name < $1.name }.flatMap { [$0.name, $0.value] })
    }

    /// A hash that identifies a list of texts.
    static func mark(of texts: [String]) -> String {
        Data(SHA256.hash(data: JSONValue.array(texts.map(JSONValue.string)).utf8).prefix(markLength)).base64URL
    }

    /// How many bytes of the hash are kept. These bytes suffice to distinguish queries.
    private static let markLength = 9

    static func read(_ text: String, _ mark: String) throws(FieldsealError) -> RecordQuery.PageToken {
        let (made, token) = try parts(text)
        // Tokens of earlier versions have no mark.
        guard made == nil || made == mark else {
            throw FieldsealError(.queryDoesNotFit, "This $skiptoken belongs to another query. Follow @odata.nextLink as it is.")
        }
        return token
    }

    /// The page's number in a paging cookie of Dataverse that contains only that number, such as `<cookie pagenumber="2"
    /// istracking="False" />`; nil for any other text.
    static func pageNumber(_ text: String) -> Int? {
        guard text.hasPrefix("<"), let cookie = try? XMLTree.parse(text), cookie.name == "cookie", cookie.children.isEmpty,
            Set(cookie.attributes.keys).isSubset(of: ["pagenumber", "istracking"]),
            let page = cookie["pagenumber"].flatMap({ Int($0) }), (1...Int(Int32.max)).contains(page)
        else { return nil }
        return page
    }

    /// Returns the mark and the end of the page that a token contains.
    static func parts(_ text: String) throws(FieldsealError) -> (mark: String?, token: RecordQuery.PageToken) {
        guard text.count <= 16_384, let data = Data(base64URL: text),
            case .array(var values)? = try? JSONParser.parse(Array(data))
        else { throw malformed }
        let mark = values.first?.string
        if mark != nil { values.removeFirst() }
        guard values.count >= 2, case .integer(let offset) = values[1], (0...Int64(Int32.max)).contains(offset) else {
            throw malformed
        }
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
        return (mark, token)
    }

    private static var malformed: FieldsealError {
        FieldsealError(.queryDoesNotFit, "This $skiptoken was not made by this service. Follow @odata.nextLink as it is.")
    }
}
