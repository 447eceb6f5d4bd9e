import Foundation
import HTTPTypes
import Hummingbird
import Model
import NIOCore
import Tenancy

// Reads the bodies of forms.
extension Console {
    /// How many bytes a form without files has at most.
    static let formLimit = 1 << 18
    /// How many bytes the files in a form have at most.
    static let filesLimit = 25_000_000
    /// How many bytes are read of a form whose files are too large. The form is read past its limit, because a browser shows the
    /// response only after it has sent the whole form.
    private static let readLimit = 1 << 28
    /// How many forms with files are held at a time.
    private static let heldForms = 3

    /// Reads a form without files into its visit.
    func readForm(_ visit: inout Visit) async throws {
        let buffer = try await visit.request.body.collect(upTo: 2 * Self.formLimit)
        visit.form = try Visit.form(buffer.readableBytesView)
        // A sealed form is a third longer than its contents.
        guard buffer.readableBytes <= Self.formLimit || visit.form[KeptForm.field] != nil else {
            throw NIOTooManyBytesError(maxBytes: Self.formLimit)
        }
    }

    /// Reads a form with files. The files are kept only for a person who is signed in, up to ``filesLimit``. Otherwise only the
    /// names of the files are kept. Typed texts are kept in any case.
    func readFiles(_ visit: inout Visit, _ boundary: String) async throws {
        visit.hold = visit.signed == nil ? nil : uploads.hold(Self.heldForms)
        let isHeld = visit.hold != nil
        let limit = Self.formLimit + (isHeld ? Self.filesLimit : 0)
        var (body, length) = (Data(), 0)
        for try await part in visit.request.body {
            length += part.readableBytes
            guard length <= Self.readLimit else { throw NIOTooManyBytesError(maxBytes: Self.readLimit) }
            if body.count < limit { body.append(contentsOf: part.readableBytesView.prefix(limit - body.count)) }
        }
        let isWhole = length <= limit
        let form = try MultipartForm(body, boundary: boundary, fieldLimit: Visit.fieldLimit, isWhole: isWhole)
        guard form.fields.reduce(0, { $0 + $1.key.utf8.count + $1.value.utf8.count }) <= Self.formLimit else {
            throw NIOTooManyBytesError(maxBytes: Self.formLimit)
        }
        visit.form = form.fields
        guard isWhole, isHeld else {
            let names = form.files.map(\.name) + form.lostFiles + (isWhole ? [] : ["…"])
            if !names.isEmpty { visit.form[Visit.lostFilesField] = names.joined(separator: "\n") }
            return
        }
        visit.files = form.files
    }
}
