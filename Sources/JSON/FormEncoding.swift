import Foundation

extension String {
    /// The text as a value of a form or a query. Every character is percent-encoded except the unreserved ones of RFC 3986 section
    /// 2.3.
    package var formEncoded: String { addingPercentEncoding(withAllowedCharacters: unreserved) ?? "" }
}

private let unreserved = CharacterSet(charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
