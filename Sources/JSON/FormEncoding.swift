import Foundation

extension String {
    /// A value of a form or a query: every character but the unreserved ones of RFC 3986 section 2.3 is percent-encoded.
    package var formEncoded: String { addingPercentEncoding(withAllowedCharacters: unreserved) ?? "" }
}

private let unreserved = CharacterSet(charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
