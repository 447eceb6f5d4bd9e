import Foundation
import JSON
import Model
import Records
import Tenancy

// The conversation on the page of an e-mail: the e-mails before it, and all answers.
extension Console {
    /// The values about the conversation of an e-mail, the oldest first.
    ///
    /// A person who may not read every e-mail of the organization doesn't learn whether the conversation has e-mails that they
    /// may not read.
    func conversationValues(_ record: Record, _ visit: Visit) async throws -> [String: Any] {
        let session = try visit.session()
        let conversation = try await session.conversation(of: record.id)
        var query = RecordQuery()
        query.outputs = ["subject", "sender", "createdon"].map { .init(.column(.init($0))) }
        query.filter = .isIn(.init("activityid"), conversation.ids.map { .text($0.text) })
        query.order = [.init(.column(.init("createdon")))]
        query.pageSize = Session.conversationLimit
        let found = conversation.ids.isEmpty ? [] : try await session.list(.email, query).records
        let seesAll = session.caller.depth(of: .retrieve, on: .email) == .organization
        let limit = ["n": visit.texts.number(Session.conversationLimit)]
        let others = found.filter { $0.id != record.id }
        return [
            "thread": others.isEmpty ? [] : try found.map { try line($0, isThis: $0.id == record.id, visit) },
            "isAlone": others.isEmpty && seesAll,
            "onlyVisible": orFalse(seesAll ? nil : visit.text("visibleMails", limit)),
            "threadCut": orFalse(seesAll && conversation.isCut ? visit.text("threadCut", limit) : nil),
        ]
    }

    private func line(_ record: Record, isThis: Bool, _ visit: Visit) throws -> [String: Any] {
        let subject = try Self.text("subject", of: record)
        var values: [String: Any] = [
            "subject": subject.isEmpty ? visit.text("noSubject") : subject.withoutDirections,
            "sender": try Self.text("sender", of: record).withoutDirections, "isThis": isThis,
            "href": "\(visit.root)/records/emails/\(record.id.text)", "when": false,
        ]
        if case .date(let date) = try record.value(of: "createdon") { values["when"] = visit.texts.timeAgo(date) }
        return values
    }
}
