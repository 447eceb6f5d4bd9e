import CellCrypto
import Foundation
import JSON

/// Passwords that were typed into a form that could not be saved, for the form's next attempt.
///
/// The page contains each password sealed under the key-encryption key, and never as text. A sealed password opens only for the
/// session, record and attribute that it was typed for, and only for half an hour.
struct KeptSecrets {
    private let kek: KeyEncryptionKey
    private let organization: UUID
    private let record: UUID
    private let form: String

    /// Seconds for which a value is kept.
    private static let lifetime: TimeInterval = 1_800

    /// - Parameters:
    ///   - form: The form's name: an entity's logical name, or the name of another form.
    ///   - record: The record of the form; nil for a new one.
    ///   - token: The session's token.
    init(_ kek: KeyEncryptionKey, organization: UUID, form name: String, record: UUID?, token: String) throws {
        self.kek = kek
        self.organization = organization
        self.record = record ?? organization
        form = "consoleform.\(name).\(hexadecimal(try sha256(Array(token.utf8)))).\(record == nil ? "new" : "old")"
    }

    private func address(_ attribute: String) -> CellAddress {
        CellAddress(organization: organization, record: record, attribute: "\(form).\(attribute)")
    }

    /// The form field with an attribute's kept value.
    static func field(_ attribute: String) -> String { "\(attribute)!kept" }

    func sealed(_ text: String, for attribute: String) throws -> String {
        let time = Int64(Date().timeIntervalSince1970)
        let bytes = withUnsafeBytes(of: time.bigEndian) { Array($0) } + Array(text.utf8)
        return Data(try kek.seal(bytes.withUnsafeBytes(SecretBytes.init(copying:)), at: address(attribute)).bytes).base64URL
    }

    /// - Returns: Nil for a value that is too old, or was sealed for another session, record or attribute.
    func opened(_ text: String, for attribute: String) -> String? {
        guard let bytes = Data(base64URL: text).map(Array.init), let secret = try? kek.open(bytes, at: address(attribute)) else {
            return nil
        }
        return secret.withBytes { bytes -> String? in
            guard bytes.count > 8 else { return nil }
            let time = Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
            let age = Date().timeIntervalSince1970 - TimeInterval(time)
            guard (-60...Self.lifetime).contains(age) else { return nil }
            return String(decoding: bytes.dropFirst(8), as: UTF8.self)
        }
    }
}
