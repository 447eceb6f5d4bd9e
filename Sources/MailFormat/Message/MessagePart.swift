/// A part of a message (RFC 2045, RFC 2046), with its nested parts.
struct MessagePart {
    let header: HeaderFields
    /// Type and subtype in lower case, with the parameters. An invalid content type becomes `text/plain`.
    let type: ContentType
    let disposition: ParameterizedValue
    /// The original bytes.
    let body: ArraySlice<UInt8>
    var children: [MessagePart] = []
    /// Whether its body is not displayed, because it exceeds a limit or is empty.
    var isUnread = false

    /// The decoded body.
    var content: ArraySlice<UInt8> {
        TransferEncoding(header.first("content-transfer-encoding")).decode(body, isText: type.main == "text")
    }

    /// Whether the part is a signature or an encryption that encloses another part.
    var isEnveloped: Bool { ["application/pkcs7-mime", "application/x-pkcs7-mime"].contains(type.name) }

    /// The original file name; nil for none.
    func fileName(hint: String?) -> String? {
        [
            disposition.text("filename", hint: hint), type.value.text("name", hint: hint),
            // Some programs write the file name into the parameter `name` of Content-Disposition.
            disposition.word == "attachment" ? disposition.text("name", hint: hint) : nil,
        ].lazy.compactMap { $0 }.first { !$0.allSatisfy(\.isWhitespace) }
    }

    /// Content-Description, if it is a file name with an extension.
    func describedName(hint: String?) -> String? {
        guard let field = header.first("content-description") else { return nil }
        let name = MailMessage.oneLine(EncodedWords.text(field.prefix(1_000), hint: hint))
        let ending = name.split(separator: ".", omittingEmptySubsequences: false).dropFirst().last ?? ""
        let isEnding =
            (1...8).contains(ending.utf8.count)
            && ending.utf8.allSatisfy { UnicodeScalar($0).properties.isAlphabetic || (0x30...0x39).contains($0) }
        return isEnding ? name : nil
    }

    /// Content-ID without its angle brackets; nil for none.
    var contentID: String? {
        guard let field = header.first("content-id") else { return nil }
        let id = String(decoding: field.prefix(300), as: UTF8.self).trimmingPrefix { $0 == "<" }.prefix { $0 != ">" }
        return id.isEmpty ? nil : String(id)
    }

    /// A content type.
    struct ContentType {
        let main: String
        let sub: String
        let value: ParameterizedValue

        var name: String { "\(main)/\(sub)" }

        /// The type of a file. For a text the type includes the parameters that change the text's meaning.
        var ofFile: String {
            guard main == "text" else { return name }
            let parameters = ["charset", "method"].compactMap { key in
                value.text(key).flatMap { (1...40).contains($0.utf8.count) && Self.isToken($0) ? "\(key)=\($0)" : nil }
            }
            return ([name] + parameters).joined(separator: "; ")
        }

        /// - Parameter fallback: The type of a part without a Content-Type.
        init(_ field: ArraySlice<UInt8>?, fallback: (String, String)) {
            value = ParameterizedValue(field)
            guard field != nil else {
                (main, sub) = fallback
                return
            }
            let parts = value.word.split(separator: "/", maxSplits: 1).map(String.init)
            if parts.count == 2, parts.allSatisfy(Self.isToken) {
                (main, sub) = (parts[0], parts[1])
            } else {
                // An invalid content type counts as text (RFC 2045 section 5.2).
                (main, sub) = ("text", value.word == "html" ? "html" : "plain")
            }
        }

        private static func isToken(_ text: String) -> Bool {
            text.utf8.allSatisfy { (0x21...0x7E).contains($0) && !"()<>@,;:\\\"/[]?=".utf8.contains($0) }
        }
    }
}
