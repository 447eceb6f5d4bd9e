import Foundation

/// The tracking token of an e-mail: `CRM:` and 4 to 20 digits. The subject contains the token. When a reply arrives, its token
/// tells the service which e-mail it replies to.
package enum TrackingToken {
    /// What `SendEmail` accepts as a token.
    package static let form = "CRM: and 4 to 20 digits, such as CRM:0012345, or an empty text for none"

    /// The last token in a subject, which is that of the newest e-mail; nil if the subject has none.
    package static func last(in subject: String) -> String? {
        let subject = Array(subject.utf8)
        let prefix = Array("CRM:".utf8)
        for start in subject.indices.dropLast(prefix.count).reversed()
        where subject[start] == prefix[0] && subject[start...].starts(with: prefix) {
            let digits = subject[(start + prefix.count)...].prefix(20).prefix {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
            }
            if digits.count >= 4 { return "CRM:\(String(decoding: digits, as: UTF8.self))" }
        }
        return nil
    }

    /// Whether `SendEmail` accepts a token: it is empty, or ``last(in:)`` finds it again.
    package static func isUsable(_ token: String) -> Bool { token.isEmpty || last(in: token) == token }

    /// A subject without the tokens at its end.
    static func removed(from subject: String) -> String {
        var subject = subject.trimmingCharacters(in: .whitespaces)
        while let token = last(in: subject), subject.hasSuffix(token) {
            subject = subject.dropLast(token.count).trimmingCharacters(in: .whitespaces)
        }
        return subject
    }
}
