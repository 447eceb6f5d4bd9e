import Foundation
import JSON
import Model
import Records
import Tenancy

// If a form is sent again after its e-mail was sent, for example with the Back button, the response leads to that e-mail.
//
// The id of an e-mail is derived from what was typed, without the files, because a browser does not send chosen files again.
extension Console {
    /// The prefix of the fields about files that did not arrive. No person types these fields, so the e-mail's id does not
    /// depend on them.
    private static let fileFields = "files."

    /// The e-mail of a form, if there is one, and the names of its files.
    private func earlier(_ visit: Visit) async throws -> (id: UUID, files: [String])? {
        guard
            let id = try FormRecordIDs(visit, deployment.kek, withoutFiles: Self.fileFields)?.id(EntityDefinition.email.logicalName)
        else { return nil }
        var query = RecordQuery()
        query.outputs = [.init(.column(.init("activityid")))]
        query.filter = .compare(.init("activityid"), .equal, .text(id.text))
        query.pageSize = 1
        let session = try visit.session()
        guard try await !session.list(.email, query).records.isEmpty else { return nil }
        query.outputs = [.init(.column(.init("filename")))]
        query.filter = .compare(.init("objectid"), .equal, .text(id.text))
        query.pageSize = 200
        let files = try await session.list(.activityMimeAttachment, query).records
        return (id, try files.map { try Self.text("filename", of: $0) })
    }

    /// The page of the e-mail that a form has sent already with files of these names; nil if it has sent none.
    func sentEarlier(withFiles names: [String], _ visit: Visit) async throws -> PageResponse? {
        guard let (id, files) = try await earlier(visit), names.allSatisfy({ files.contains($0.cut(to: 255)) }) else { return nil }
        return Self.sentReply(id, visit)
    }

    static func sentReply(_ id: UUID, _ visit: Visit) -> PageResponse {
        .redirect("\(visit.root)/records/emails/\(id.text)?done=sent")
    }

    /// The id for the e-mail of a form. The id is derived from what was typed and, if an e-mail with other files has that id
    /// already, also from the files.
    func emailID(_ visit: Visit, attached: [JSONValue]) async throws -> UUID? {
        let name = EntityDefinition.email.logicalName
        guard let (id, _) = try await earlier(visit) else {
            return try FormRecordIDs(visit, deployment.kek, withoutFiles: Self.fileFields)?.id(name)
        }
        var query = RecordQuery()
        query.outputs = ["filename", "body"].map { .init(.column(.init($0))) }
        query.filter = .compare(.init("objectid"), .equal, .text(id.text))
        query.pageSize = 200
        let stored = try await visit.session().list(.activityMimeAttachment, query).records.map {
            [try Self.text("filename", of: $0), try Self.text("body", of: $0)]
        }
        let sent = attached.map { file in ["filename", "body"].map { file[$0]?.string ?? "" } }
        let isSame = Set(stored) == Set(sent) && stored.count == sent.count
        return isSame ? id : try FormRecordIDs(visit, deployment.kek)?.id(name)
    }
}
