import HTTPTypes
import NIOHTTP1

extension HTTPResponse.Status {
    /// The reason phrase. The phrase is not empty even if the status was made only from its number.
    var reason: String {
        if !reasonPhrase.isEmpty { return reasonPhrase }
        let known = HTTPResponseStatus(statusCode: code).reasonPhrase
        return known.isEmpty ? "Status" : known
    }
}
