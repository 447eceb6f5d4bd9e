/// The tracking token of an e-mail: `CRM:` and 4 to 20 digits. It stands in the subject, by which an answer is found.
package enum TrackingToken {
    /// What a message takes as a token.
    package static let form = "CRM: and 4 to 20 digits, such as CRM:0012345, or an empty text for none"

    /// The first token in a subject; nil for none.
    package static func first(in subject: String) -> String? {
        let subject = Array(subject.utf8)
        let prefix = Array("CRM:".utf8)
        for start in subject.indices.dropLast(prefix.count)
        where subject[start] == prefix[0] && subject[start...].starts(with: prefix) {
            let digits = subject[(start + prefix.count)...].prefix(20).prefix {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
            }
            if digits.count >= 4 { return "CRM:\(String(decoding: digits, as: UTF8.self))" }
        }
        return nil
    }

    /// Whether a caller may name it for `SendEmail`: it is empty, or it is found again.
    package static func isUsable(_ token: String) -> Bool { token.isEmpty || first(in: token) == token }
}
