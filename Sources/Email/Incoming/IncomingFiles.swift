import Foundation
import Model
import Records
import RouterProtocol

/// The files of an incoming e-mail that its record has.
struct IncomingFiles {
    /// The e-mail's files that fit, and one file that lists the files that are left out.
    private(set) var kept: [IncomingEmail.Attachment] = []
    /// Whether some files are left out, here or by the router.
    let lacksSome: Bool
    /// Whether one of the files is the original message, which has everything that is left out.
    let hasOriginal: Bool

    /// - Parameter limit: The largest file that the organization keeps, in bytes.
    init(_ email: IncomingEmail, limit: Int) {
        var omitted: [LeftOutFiles.File] = []
        for file in email.attachments {
            if file.fits(limit), kept.count < EmailParts.limit {
                kept.append(file)
            } else {
                omitted.append(.init(name: file.name, type: file.type ?? "", bytes: file.size))
            }
        }
        hasOriginal = kept.contains(where: \.isOriginal)
        lacksSome = !omitted.isEmpty || email.omittedAttachments > 0
        if !omitted.isEmpty, !hasOriginal { kept.append(.init(listing: LeftOutFiles(omitted))) }
    }
}

extension IncomingEmail {
    /// Throws if the e-mail has a file that is too large for its record.
    func requireFit(in place: EmailDelivery.Place) throws(FieldsealError) {
        let limit = place.attachmentLimit
        guard let file = attachments.first(where: { !$0.fits(limit) }) else { return }
        throw FieldsealError(
            .stringLengthTooLong,
            "Body of the file \(file.name.quotedForMessage) in Attachments takes at most \(limit) bytes (maxuploadfilesize of the "
                + "organization), and this one has \(file.size).")
    }
}

extension IncomingEmail.Attachment {
    /// The media type of the original message, which a router attaches to the record with a note about what the record lacks.
    static let typeOfOriginal = "message/rfc822"

    fileprivate var isOriginal: Bool { note != nil && type == Self.typeOfOriginal }

    /// Whether an organization keeps the file. A file that a router adds because the record does not show everything, such as the
    /// original message, is always kept.
    fileprivate func fits(_ limit: Int) -> Bool { note != nil || LeftOutFiles.keeps(size, limit: limit) }

    fileprivate init(listing files: LeftOutFiles) {
        let list = files.attachment
        self.init(name: list.fileName, type: list.mimeType, body: list.body, size: files.text.utf8.count, note: list.note)
    }
}
