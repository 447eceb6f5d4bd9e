import Foundation
import Model
import Records

/// The paging cookie of FetchXML and of the Organization service. The cookie contains a skip token, and belongs to one query and
/// one page.
enum PagingCookie {
    /// The annotation's value for the page after `token`. The cookie is encoded twice, because clients decode it twice.
    static func annotation(_ token: RecordQuery.PageToken, nextPage: Int, of mark: String) -> String {
        let cookie = text(token, page: nextPage - 1, of: mark)
        return "<cookie pagenumber=\"\(nextPage)\" pagingcookie=\"\(cookie.percentEncoded.percentEncoded)\" istracking=\"False\" />"
    }

    /// The cookie with the end of a page. Pages are counted from 1.
    static func text(_ token: RecordQuery.PageToken, page: Int, of mark: String) -> String {
        "<cookie page=\"\(page)\" token=\"\(SkipToken.write(token, mark))\"/>"
    }

    /// Reads the end of the previous page from a cookie.
    ///
    /// - Parameters:
    ///   - page: The page that the query asks for.
    ///   - mark: The query's mark.
    /// - Throws: ``FieldsealError`` for the cookie of another query, and for a cookie that is not from the previous page.
    static func read(_ text: String, page: Int, of mark: String) throws(FieldsealError) -> RecordQuery.PageToken {
        guard let cookie = try? XMLTree.parse(text), cookie.name == "cookie", let token = cookie["token"],
            let before = cookie["page"].flatMap({ Int($0) }), let (made, read) = try? SkipToken.parts(token)
        else {
            throw FieldsealError(
                .queryDoesNotFit, "This paging cookie was not made by this service. Send the cookie of the page before as it is.")
        }
        guard made == mark else {
            throw FieldsealError(
                .queryDoesNotFit,
                "This paging cookie belongs to another query. Send it with the query that it was made for, or begin with page 1 and "
                    + "no cookie.")
        }
        guard before < Int.max, before + 1 == page else {
            throw FieldsealError(
                .queryDoesNotFit,
                "This paging cookie is of page \(before), and the query asks for page \(page). Ask for the page after it, or leave the "
                    + "cookie out.")
        }
        return read
    }

    // MARK: Marks

    /// A mark that identifies a query in FetchXML. The mark is the same for each page of the query.
    static func mark(of fetch: XMLTree) -> String {
        let kind = ["aggregate", "distinct"].map { (try? fetch.flag($0)) ?? false ? $0 : "" }
        return SkipToken.mark(of: kind + fetch.children.flatMap(texts))
    }

    private static func texts(of element: XMLTree) -> [String] {
        [element.name] + element.attributes.sorted { $0.key < $1.key }.flatMap { [$0.key, $0.value] }
            + [String(element.text.trimmed), "("] + element.children.flatMap(texts) + [")"]
    }

    /// A mark that identifies a query of the Organization service. The mark is the same for each page of the query.
    static func mark(of query: XMLElement) -> String {
        var texts = [query.type?.local ?? ""]
        for child in query.children where child.local != "PageInfo" { append(child, to: &texts) }
        return SkipToken.mark(of: texts)
    }

    private static func append(_ element: XMLElement, to texts: inout [String]) {
        texts += [
            element.local, element.type?.local ?? "", element.isNil ? "nil" : "", element.hasChildren ? "" : element.text, "(",
        ]
        for child in element.children { append(child, to: &texts) }
        texts.append(")")
    }
}
