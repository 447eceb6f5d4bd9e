import Authentication
import CellCrypto
import Foundation
import JSON
import Tenancy

/// The ids of the records that a form makes.
///
/// Each form has a random text of its own. The ids are derived from this text and from everything that was typed, under the
/// key-encryption key. So a form that is sent twice makes its records once. A form that is changed and sent again makes new
/// records.
struct FormRecordIDs {
    /// The field with the form's random text.
    static let field = "once"

    private let kek: KeyEncryptionKey
    private let typed: [[UInt8]]

    /// Reads a form; nil for one without a random text.
    ///
    /// - Parameter fields: The prefix of the names of fields about files. If a prefix is given, the ids do not depend on these
    ///   fields, on the files, or on empty fields. A page that is shown again may have more empty fields.
    init?(_ visit: Visit, _ kek: KeyEncryptionKey, withoutFiles fields: String? = nil) throws {
        guard let signed = visit.signed, visit.form[Self.field]?.isEmpty == false else { return nil }
        self.kek = kek
        var typed: [[UInt8]] = [signed.session.organization.id.bytes, signed.userID.bytes]
        for (name, value) in visit.form.sorted(by: { $0.key < $1.key }) where name != "csrf" {
            if let fields, name.hasPrefix(fields) || value.isEmpty { continue }
            typed += [Array(name.utf8), Array(value.utf8)]
        }
        for file in fields == nil ? visit.files : [] {
            typed += [Array(file.name.utf8), Array(file.type.utf8), try sha256(file.bytes)]
        }
        self.typed = typed
    }

    /// A new random text for a form.
    static func text() -> String { UUID().text }

    /// The id of one of the records.
    func id(_ record: String) throws -> UUID {
        var bytes = Array(try kek.tag(label: "console-once", over: [Array(record.utf8)] + typed).prefix(16))
        // A UUID of version 8 (RFC 9562, section 5.8).
        bytes[6] = bytes[6] & 0x0F | 0x80
        bytes[8] = bytes[8] & 0x3F | 0x80
        return bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
    }
}
