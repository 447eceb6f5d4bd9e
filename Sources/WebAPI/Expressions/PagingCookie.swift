import Foundation
import Model
import Records

/// FetchXML's paging cookie, which contains a skip token.
enum PagingCookie {
    /// The annotation's value for the page after `token`. The cookie is encoded twice, because clients decode it twice.
    static func annotation(_ token: RecordQuery.PageToken, nextPage: Int) -> String {
        let cookie = text(token, page: nextPage - 1)
        return "<cookie pagenumber=\"\(nextPage)\" pagingcookie=\"\(cookie.percentEncoded.percentEncoded)\" istracking=\"False\" />"
    }

    /// The cookie. Pages are counted from 1.
    static func text(_ token: RecordQuery.PageToken, page: Int) -> String {
        "<cookie page=\"\(page)\" token=\"\(SkipToken.write(token))\"/>"
    }

    static func read(_ text: String) throws(FieldsealError) -> RecordQuery.PageToken {
        guard let cookie = try? XMLTree.parse(text), cookie.name == "cookie", let token = cookie["token"],
            let read = try? SkipToken.read(token)
        else {
            throw FieldsealError(
                .queryDoesNotFit, "This paging cookie was not made by this service. Send the cookie of the page before as it is.")
        }
        return read
    }
}
