import Authentication
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
    /// How many bytes of forms with files are held for one person, and for all.
    static let heldOfPerson = filesLimit + 2 * formLimit
    static let heldOfAll = 4 * heldOfPerson

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
        visit.hold = visit.signed.flatMap { $0.session.caller.systemUserID }.map(uploads.hold)
        var (body, length) = (Data(), 0)
        for try await part in visit.request.body {
            length += part.readableBytes
            guard length <= Self.readLimit else { throw NIOTooManyBytesError(maxBytes: Self.readLimit) }
            // The first bytes have the texts. They are kept without a hold too.
            let limit = visit.hold == nil ? Self.formLimit : Self.formLimit + Self.filesLimit
            let kept = part.readableBytesView.prefix(max(0, limit - body.count))
            if let hold = visit.hold, !kept.isEmpty, !hold.add(kept.count) {
                // There is no room for the files of this form. Their bytes are given back.
                visit.hold = nil
                body = Data(body.prefix(Self.formLimit))
                body.append(contentsOf: kept.prefix(Self.formLimit - body.count))
            } else {
                body.append(contentsOf: kept)
            }
        }
        let isHeld = visit.hold != nil
        let isWhole = length == body.count
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
