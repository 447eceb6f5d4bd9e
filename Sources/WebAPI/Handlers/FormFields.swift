/// Reads `application/x-www-form-urlencoded` (URL Standard, section 5.1).
package enum FormFields {
    /// Why a form can't be read.
    package enum Problem: Error {
        case tooManyFields, notUTF8
        /// A field contains U+0000. The field's name is nil if the name itself contains U+0000.
        case zero(field: String?)
    }

    /// The fields in order, decoded. The fields are counted before they are decoded.
    package static func read(_ bytes: some Sequence<UInt8>, limit: Int) throws(Problem) -> [(name: String, value: String)] {
        let bytes = Array(bytes)
        guard bytes.count(where: { $0 == UInt8(ascii: "&") }) < limit else { throw .tooManyFields }
        guard let body = String(validating: bytes, as: UTF8.self) else { throw .notUTF8 }
        var fields: [(name: String, value: String)] = []
        for field in body.split(separator: "&") {
            let parts = field.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = parts[0].percentDecoded(isForm: true),
                let value = (parts.count == 2 ? parts[1] : "").percentDecoded(isForm: true)
            else { throw .notUTF8 }
            guard !name.utf8.contains(0) else { throw .zero(field: nil) }
            guard !value.utf8.contains(0) else { throw .zero(field: name) }
            fields.append((name, value))
        }
        return fields
    }
}
