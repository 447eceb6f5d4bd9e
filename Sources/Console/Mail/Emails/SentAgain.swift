import Foundation
import JSON
import Model
import Records
import Tenancy

/// A failed e-mail that was sent again as another e-mail. It is canceled then, so that no warning counts it, and names its copy.
///
/// The copy's id is JSON in `activityadditionalparams`. A client may have written anything there, so the page of the e-mail looks
/// the copy up.
enum SentAgain {
    private static let member = "SentAgainAs"

    /// The copy that a canceled e-mail names; nil for another e-mail.
    static func copy(of record: Record) throws -> UUID? {
        guard try record.value(of: "statuscode") == EmailStatus.canceled.value else { return nil }
        let text = try Console.text(Console.additional, of: record)
        return (try? JSONParser.parse(Array(text.utf8)))?[member]?.string.flatMap(UUID.init(text:))
    }

    /// The values that an e-mail gets when it was sent again.
    fileprivate static func members(_ record: Record, as copy: UUID) throws -> [JSONValue.Member] {
        let text = try Console.text(Console.additional, of: record)
        var kept: [JSONValue.Member] = []
        if case .object(let members)? = try? JSONParser.parse(Array(text.utf8)) {
            kept = members.filter { $0.name != member }
        }
        let params = JSONValue.object(kept + [.init(member, .string(copy.text))])
        return [
            .init("statecode", .integer(Int64(EmailStatus.canceled.state))),
            .init("statuscode", .integer(Int64(EmailStatus.canceled.rawValue))),
            .init(Console.additional, .string(String(decoding: params.utf8, as: UTF8.self))),
        ]
    }
}

extension Console {
    /// Notes at a failed e-mail that it was sent again. The copy is on its way already, so an error is not reported: without the
    /// note the e-mail stays *Failed*, for example if the person may read the e-mail and not change it.
    func noteSentAgain(_ record: Record, as copy: UUID, _ visit: Visit) async {
        guard let members = try? SentAgain.members(record, as: copy) else { return }
        _ = try? await visit.session().write(.upsert(.email, .id(record.id), members, .mustExist))
    }

    /// The values about the copy of an e-mail that was sent again; false for another e-mail.
    func sentAgain(_ record: Record, _ visit: Visit) async throws -> Any {
        guard let id = try SentAgain.copy(of: record) else { return false }
        var query = RecordQuery()
        query.outputs = ["subject", "statuscode", "createdon"].map { .init(.column(.init($0))) }
        query.filter = .compare(.init("activityid"), .equal, .text(id.text))
        query.pageSize = 1
        guard let copy = try await visit.session().list(.email, query).records.first else {
            return ["text": visit.text("sentAgainGone"), "href": false, "status": false, "when": false] as [String: Any]
        }
        var values: [String: Any] = [
            "text": visit.text("sentAgain"), "href": "\(visit.root)/records/emails/\(id.text)", "status": false, "when": false,
        ]
        if case .int(let status) = try copy.value(of: "statuscode"), let attribute = EntityDefinition.email["statuscode"] {
            values["status"] = [
                "style": EmailStatus(rawValue: status)?.style ?? "", "text": visit.texts.option(status, of: attribute),
            ]
        }
        if case .date(let date) = try copy.value(of: "createdon") { values["when"] = visit.texts.time(date) }
        return values
    }
}
