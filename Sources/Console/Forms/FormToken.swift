import CellCrypto
import Foundation
import JSON

/// The token in each form of a signed-in person.
///
/// The token names the person, and is derived from the session's token, which no script and no other site can read. A tag under the
/// key-encryption key shows that this service made the token. So a form's person is known even after the session has ended, or if
/// the browser has another session or none.
struct FormToken {
    private let kek: KeyEncryptionKey
    private let organization: UUID

    private static let label = "console-form"
    /// The number of digits of a person's id and of two hashes.
    private static let length = 32 + 64 + 64

    init(_ kek: KeyEncryptionKey, organization: UUID) {
        self.kek = kek
        self.organization = organization
    }

    private func fields(_ start: String) -> [[UInt8]] { [organization.bytes, Array(start.utf8)] }

    /// The token of the forms in one session. The token consists of letters and digits.
    func text(_ token: String, _ userID: UUID) throws -> String {
        let start = (userID.text.filter { $0 != "-" }) + hexadecimal(try sha256(Array("form \(token) \(userID.text)".utf8)))
        return start + hexadecimal(try kek.tag(label: Self.label, over: fields(start)))
    }

    /// Whether a form is of this session.
    func isOfSession(_ text: String?, _ token: String, _ userID: UUID) -> Bool {
        guard let text, let expected = try? self.text(token, userID) else { return false }
        return constantTimeEqual(Array(text.utf8), Array(expected.utf8))
    }

    /// The person whose page a form was on; nil for a token that this service did not make.
    func owner(_ text: String?) -> UUID? {
        guard let text, text.utf8.count == Self.length else { return nil }
        let start = String(text.prefix(96))
        let isOwn = kek.each.contains { kek in
            guard let tag = try? kek.tag(label: Self.label, over: fields(start)) else { return false }
            return constantTimeEqual(Array(text.utf8), Array((start + hexadecimal(tag)).utf8))
        }
        return isOwn ? UUID(digits: text.prefix(32)) : nil
    }
}

extension UUID {
    /// An id whose text has no hyphens.
    fileprivate init?(digits: Substring) {
        guard digits.utf8.count == 32 else { return nil }
        var text = String(digits)
        for place in [20, 16, 12, 8] { text.insert("-", at: text.index(text.startIndex, offsetBy: place)) }
        self.init(text: text)
    }
}
