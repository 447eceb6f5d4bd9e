import Foundation
import JSON

/// The question before an action on mailboxes.
struct MailboxQuestion {
    /// Where the answer is sent, and where *Cancel* leads.
    let action: String
    let back: String
    /// Whether *Cancel* sends the form too, so that the list keeps what was chosen.
    var keepsChoice = false
    /// The fields that the answer sends again.
    var fields: [(name: String, value: String)]

    private typealias Choice = (style: String, name: String, value: String, text: String)

    /// How many names are shown at once. The other names are in a section that can be opened.
    private static let nameLimit = 10

    /// - Parameter subject: What exactly the answer confirms.
    func disable(_ title: String, _ text: String, _ names: [String], _ subject: String, _ visit: Visit) -> PageResponse {
        page(title, text, names, [("danger", "confirmed", subject, visit.text("disable"))], visit)
    }

    /// - Parameter subject: What exactly the answer confirms.
    func assign(_ profile: String, _ names: [String], _ subject: String, _ visit: Visit) -> PageResponse {
        page(
            visit.texts.count("profileMany", names.count, ["profile": profile]), visit.text("profileManyWhy"), names,
            [("danger", "confirmed", subject, visit.text("assign"))], visit)
    }

    /// Asks for confirmation before addresses are approved, without a test.
    func approve(_ open: [MailboxFacts], _ visit: Visit) throws -> PageResponse {
        page(
            visit.texts.count("approveMany", open.count), visit.text("approveManyWhy"), open.map(\.shownName),
            [("danger", "confirmed", try Self.approval(of: open), visit.text("approveNow"))], visit)
    }

    /// Asks before the address of one mailbox is approved. Both are named.
    func approve(_ open: MailboxFacts, _ visit: Visit) throws -> PageResponse {
        let names = ["address": open.address, "name": open.name.isEmpty ? visit.text("unnamed") : open.name]
        return page(
            visit.text("approveOne", names), visit.text("approveManyWhy"), [],
            [("danger", "confirmed", try Self.approval(of: [open]), visit.text("approveNow"))], visit)
    }

    /// What an answer confirms: the mailboxes with their present addresses, and the server profile to assign.
    static func subject(_ action: MailboxAction, _ boxes: [(id: UUID, name: String)], _ profile: UUID? = nil) throws -> String {
        let parts = boxes.map { "\($0.id.text) \($0.name)" }.sorted()
        return try Console.subject([action.rawValue, profile?.text ?? ""] + parts)
    }

    /// What an answer approves: these addresses and no others.
    static func approval(of open: [MailboxFacts]) throws -> String {
        try subject(.approve, open.map { ($0.id, $0.address) })
    }

    /// Asks for the approval of addresses, without which the test can't run.
    ///
    /// - Parameter count: How many mailboxes are to be tested.
    func approve(_ open: [MailboxFacts], of count: Int, _ visit: Visit) throws -> PageResponse {
        let names = open.map { $0.address.isEmpty ? $0.name : $0.address }
        let title: String =
            count == 1 ? visit.text("approveToo", ["address": names[0]]) : visit.texts.count("approveManyToo", open.count)
        var choices: [Choice] = [("primary", "approves", try Self.approval(of: open), visit.text("approveAndTest"))]
        if count > open.count {
            choices.append(("", "approves", "0", visit.texts.count("testOthers", count - open.count)))
        }
        return page(title, visit.text("approveTooWhy"), count == 1 ? [] : names, choices, visit)
    }

    private func page(_ title: String, _ text: String, _ names: [String], _ choices: [Choice], _ visit: Visit) -> PageResponse {
        let names = names.map { $0.isEmpty ? visit.text("unnamed") : $0 }
        let rest = Array(names.dropFirst(Self.nameLimit))
        return .page(
            "mailbox-question",
            [
                "title": title, "text": text, "action": action, "back": keepsChoice ? false as Any : back,
                "hasNames": !names.isEmpty,
                "fields": fields.map { ["name": $0.name, "value": $0.value] },
                "names": Array(names.prefix(Self.nameLimit)), "rest": rest,
                "more": orFalse(rest.isEmpty ? nil : visit.texts.count("andMore", rest.count)),
                "choices": choices.map { ["style": $0.style, "name": $0.name, "value": $0.value, "text": $0.text] },
            ])
    }
}
