import Authentication
import Foundation
import HTTPTypes
import JSON
import Model
import Tenancy

// Views that a person stores: a list with its search, filters, order and size, under a name.
extension Console {
    /// Lists that have stored views and are not lists of records, by their names in the path.
    private static let otherLists = ["events", "audit"]
    /// Parameters of a list's address that a view does not store.
    private static let passing: Set<String> = ["page", "before", "done", "result"]

    /// The path of a list without the organization; nil for an unknown name.
    private static func path(of list: String) -> String? {
        if otherLists.contains(list) { return list }
        return (Navigation.sets + Navigation.shownSets).contains { $0.entitySetName == list } ? "records/\(list)" : nil
    }

    /// The values of the template `own-views`.
    func ownViews(of list: String, _ visit: Visit) async throws -> [String: Any] {
        guard let signed = visit.signed, let path = Self.path(of: list) else { return [:] }
        let now = Self.query(visit)
        let views = try await StoredViews(deployment).all(of: list, for: signed)
        return [
            "list": list, "query": now, "mayKeep": !now.isEmpty && !views.contains { $0.query == now },
            "hasOwn": !views.isEmpty,
            "own": views.map { view -> [String: Any] in
                [
                    "id": view.id.text, "text": view.name, "href": "\(visit.root)/\(path)?\(view.query)",
                    "current": view.query == now,
                ]
            },
        ]
    }

    /// The part of a list's address that makes a view. The order of the parameters is fixed, so that two views can be compared.
    private static func query(_ visit: Visit) -> String {
        let parts = visit.queries.filter { !passing.contains($0.name) && !$0.value.isEmpty }
        func encoded(_ text: String) -> String { text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "" }
        return parts.map { "\(encoded($0.name))=\(encoded($0.value))" }.sorted().joined(separator: "&")
    }

    @Sendable func keepView(_ visit: Visit) async throws -> PageResponse {
        guard let signed = visit.signed, let path = Self.path(of: visit.form["list"] ?? "") else { throw FieldsealError.noPage }
        let query = visit.form["query"] ?? ""
        // The query becomes part of an address on a page. A query that is not encoded does not come from a list.
        guard query.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "%=&".contains($0)) }), !query.isEmpty else {
            throw FieldsealError.noPage
        }
        let name = (visit.form["name"] ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
        let list = visit.form["list"] ?? ""
        let former = try await StoredViews(deployment).keep(
            name, query: query, of: list, replaces: visit.form["confirmed"] == "1", for: signed)
        if let former {
            return question(
                ("replaceViewTitle", "replaceViewWhy", "replaceViewNow"), ["name": former], "views/keep",
                ["list": list, "query": query, "name": name], "\(path)?\(query)", visit)
        }
        return .redirect("\(visit.root)/\(path)?\(query)&done=viewKept")
    }

    @Sendable func removeView(_ visit: Visit) async throws -> PageResponse {
        guard let signed = visit.signed, let path = Self.path(of: visit.form["list"] ?? "") else { throw FieldsealError.noPage }
        guard let id = UUID(text: visit.form["id"] ?? "") else { throw FieldsealError.noPage }
        try await StoredViews(deployment).remove(id, for: signed)
        return .redirect("\(visit.root)/\(path)?done=viewRemoved")
    }
}

extension Visit {
    /// The notice on a list after a view was stored or removed.
    var viewNotice: String? { query("done").flatMap { ["viewKept", "viewRemoved"].contains($0) ? text($0) : nil } }
}
