import Email
import Foundation
import HTTPTypes
import Hummingbird
import JSON
import Model
import Records
import Tenancy

// Writing e-mails: new ones, answers, forwarded ones, and failed ones again.
extension Console {
    /// The kind of a new e-mail.
    enum Composing: String, CaseIterable {
        case new, reply, forward, again
        case replyAll = "reply-all"

        /// The path of the page, below the console's root.
        var path: String { self == .new ? "compose" : "records/:set/:id/\(rawValue)" }

        /// Whether the new e-mail is an answer to an earlier one.
        var isReply: Bool { self == .reply || self == .replyAll }

        /// The key of the page's title.
        var title: String {
            switch self {
            case .new: "newEmail"
            case .reply: "reply"
            case .replyAll: "replyAll"
            case .forward: "forward"
            case .again: "sendAgain"
            }
        }

        /// The prefix of the subject of an answer or a forwarded e-mail.
        fileprivate var mark: String {
            switch self {
            case .new, .again: ""
            case .reply, .replyAll: "Re: "
            case .forward: "Fwd: "
            }
        }

        /// Whether the new e-mail gets the attachments of the earlier one.
        var takesAttachments: Bool { self == .forward || self == .again }
    }

    /// How many bytes of base64 an e-mail's attachments have at most.
    static let attachedBytes = 34_000_000
    static let attachmentField = "attachment."
    /// The fields with the names of files that were sent but not kept, and with the person's choice to send without them.
    static let missingFilesField = "files.missing"
    static let withoutFilesField = "files.without"
    /// The field with the person's choice to send an e-mail without a subject and a text.
    static let emptyField = "empty"
    /// Up to this number, mailboxes are a list to choose from. If there are more mailboxes, the person types a part of the name.
    private static let chosenFromList = 20

    /// The e-mail that is answered, forwarded or sent again; nil for a new one.
    func earlierEmail(for composing: Composing, _ visit: Visit) async throws -> Record? {
        switch composing {
        case .new: nil
        case .reply, .replyAll, .forward: try await email(visit)
        case .again: try await failedEmail(visit)
        }
    }

    // MARK: The page

    /// - Parameters:
    ///   - record: The e-mail that is answered, forwarded or sent again.
    ///   - problem: The reason for which the e-mail was not sent.
    ///   - asksEmpty: Whether to ask if the e-mail is to be sent without a subject and a text.
    ///   - lost: The names of files that have to be chosen again.
    func composePage(
        _ visit: Visit, _ composing: Composing, _ record: Record?, problem: String? = nil, asksEmpty: Bool = false,
        lost: [String] = [],
        status: HTTPResponse.Status = .ok
    ) async throws -> PageResponse {
        try Self.require(.create, .email, visit)
        let sender = try await offeredSender(visit, record)
        let isAgain: Bool = problem != nil || asksEmpty
        let typed = isAgain ? visit.form : [:]
        let (boxes, doubt) = try await senders(
            Self.chosenFromList + 1, chosen: typed["from"].flatMap(UUID.init(text:)) ?? sender?.id, visit)
        guard !boxes.isEmpty else {
            // What was typed must not be lost.
            guard visit.request.method != .post else { throw FieldsealError.roleForbids(visit.role) }
            return try await noMailboxPage(visit)
        }
        let path = record.map { "\(visit.root)/records/emails/\($0.id.text)" } ?? "\(visit.root)/records/emails"
        let subject = try record.map { try Self.subject(of: $0, composing) } ?? ""
        let before = try await recipientsBefore(record, composing, visit)
        let names: [String: String] = if let record { try await namedAddresses(record, visit) } else { [:] }
        func named(_ address: String) -> String { names[address.lowercased()] ?? address }
        func recipients(_ field: String, _ kind: Participation) -> String {
            typed[field] ?? before[kind]?.map(named).joined(separator: ", ") ?? ""
        }
        let answered = try composing.isReply ? record.map { try Self.answered($0) } ?? [] : []
        let attachments = try await offeredAttachments(record, composing, path, isAgain ? typed : nil, visit)
        var values: [String: Any] = [
            "title": visit.text(composing.title), "lead": orFalse(subject.isEmpty ? nil : subject),
            "action": record == nil ? "\(visit.root)/compose" : "\(path)/\(composing.rawValue)", "back": path,
            "from": typed["from"] ?? sender?.name ?? "", "fromID": typed["fromID"] ?? sender?.id.text ?? "",
            "fromName": typed["fromName"] ?? sender?.name ?? "",
            "lookup": "\(visit.root)/lookup/mailbox?for=sending&q=",
            "to": typed["to"] ?? (answered + (before[.to] ?? [])).map(named).joined(separator: ", "),
            "toWhy": orFalse(try answersElsewhere(record, answered, visit)),
            "cc": recipients("cc", .cc), "bcc": recipients("bcc", .bcc),
            // A form that is shown again keeps its random text, so that it sends only one e-mail.
            "once": typed[FormRecordIDs.field] ?? FormRecordIDs.text(),
            "subject": typed["subject"] ?? Self.marked(subject, composing),
            "body": try typed["body"] ?? (composing == .again ? record.map { try MailText(of: $0).text } : nil) ?? "",
            "keepsFormat": composing == .again, "lost": lost.joined(separator: "\n"), "hasLost": !lost.isEmpty,
            "sendWithout": visit.text("sendWithout", ["names": lost.joined(separator: ", ")]),
            "wrongAddress": visit.text("wrongAddress", ["text": "{text}"]), "crumb": visit.text("email"),
            "attachments": attachments, "hasAttachments": !attachments.isEmpty, "original": false, "mayQuote": false,
            "asksEmpty": asksEmpty,
        ]
        values["hasBcc"] = (values["bcc"] as? String)?.isEmpty == false
        values["isQuoted"] = !isAgain || typed["quote"] != nil
        if let record, composing != .again { values.merge(try original(record, composing, path, visit)) { _, new in new } }
        if boxes.count <= Self.chosenFromList {
            let chosen = typed["from"] ?? sender?.id.text ?? (boxes.count == 1 ? boxes[0].id.text : "")
            let unchosen = boxes.count == 1 ? [] : [("", visit.text("noMailboxChosen"))]
            values["choices"] = Self.options(unchosen + boxes.map { ($0.id.text, $0.name) }, chosen: chosen)
        } else {
            values["senders"] = try await senderNames(nil, visit)
        }
        values["isList"] = boxes.count <= Self.chosenFromList
        values["doubt"] = orFalse(doubt)
        values["problem"] = problem
        return .page("compose", values, status: status)
    }

    /// The recipients that an e-mail copies from an earlier one, in addition to the addresses that it answers.
    private func recipientsBefore(
        _ record: Record?, _ composing: Composing, _ visit: Visit
    ) async throws -> [Participation: [String]] {
        guard let record else { return [:] }
        switch composing {
        case .again: return try await addresses(record, visit)
        case .replyAll: return try await otherRecipients(record, visit)
        case .new, .reply, .forward: return [:]
        }
    }

    /// The other recipients of a received e-mail. The mailbox that received the e-mail is left out, and so is the mailbox's queue
    /// or user.
    func otherRecipients(_ record: Record, _ visit: Visit) async throws -> [Participation: [String]] {
        var known = Set(try Self.answered(record).map { $0.lowercased() })
        var holder: UUID?
        if case .id(let mailbox) = try record.value(of: "receivingmailboxid") {
            var query = RecordQuery()
            let columns = ["emailaddress", "regardingobjectid", "regardingobjecttypecode"]
            query.outputs = columns.map { .init(.column(.init($0))) }
            query.filter = .compare(.init("mailboxid"), .equal, .text(mailbox.text))
            query.pageSize = 1
            for own in try await visit.session().list(.mailbox, query).records {
                // Customers may write to the address of the queue or the user, which may differ from the mailbox's address.
                let addresses = [try Self.text("emailaddress", of: own), try await holderAddress(own, visit) ?? ""]
                known.formUnion(addresses.map { $0.lowercased() })
                holder = own.mailboxHolder?.id
            }
        }
        let all = try await addresses(record, without: holder, visit)
        var others: [Participation: [String]] = [:]
        for kind in [Participation.to, .cc] {
            // Addresses that look like another address are left out, as they are if Reply-To names them.
            let left = (all[kind] ?? []).filter { EmailAddressRule.isUsable($0) && known.insert($0.lowercased()).inserted }
            if !left.isEmpty { others[kind] = left }
        }
        return others
    }

    /// The values about the text that is answered or forwarded.
    private func original(_ record: Record, _ composing: Composing, _ path: String, _ visit: Visit) throws -> [String: Any] {
        guard try !Self.text("description", of: record).isEmpty else { return [:] }
        return [
            "original": "\(path)/body", "originalLabel": visit.text(composing.isReply ? "answeredText" : "forwardedText"),
            "frame": try MailText(of: record).frame, "mayQuote": composing.isReply,
        ]
    }

    /// The attachments of the earlier e-mail, to choose from.
    ///
    /// - Parameter typed: The form as it was sent; nil if it was not sent yet.
    private func offeredAttachments(
        _ record: Record?, _ composing: Composing, _ path: String, _ typed: [String: String]?, _ visit: Visit
    ) async throws -> [[String: Any]] {
        guard composing.takesAttachments, let record else { return [] }
        return try await attachments(record.id, visit, path).map { attachment in
            let name = "\(Self.attachmentField)\(attachment["id"] ?? "")"
            return attachment.merging(["field": name, "isTaken": typed.map { $0[name] != nil } ?? true]) { own, _ in own }
        }
    }

    /// The subject for the new e-mail. If the earlier e-mail is sent again, its tracking token is removed, because the new e-mail
    /// gets its own token.
    private static func subject(of record: Record, _ composing: Composing) throws -> String {
        let (subject, token) = (try text("subject", of: record), try text("trackingtoken", of: record))
        guard composing == .again, !token.isEmpty, subject.hasSuffix(token) else { return subject }
        return subject.dropLast(token.count).trimmingCharacters(in: .whitespaces)
    }

    static func text(_ name: String, of record: Record) throws -> String {
        if case .text(let text) = try record.value(of: name) { text } else { "" }
    }

    private static func marked(_ subject: String, _ composing: Composing) -> String {
        let mark = composing.mark
        if subject.isEmpty { return mark.trimmingCharacters(in: .whitespaces) }
        return subject.lowercased().hasPrefix(mark.lowercased().trimmingCharacters(in: .whitespaces)) ? subject : mark + subject
    }

    /// The preselected mailbox: the mailbox that the page's address names, or else the mailbox of the earlier e-mail.
    private func offeredSender(_ visit: Visit, _ record: Record?) async throws -> (id: UUID, name: String)? {
        var id = visit.query("from").flatMap(UUID.init(text:))
        for name in ["receivingmailboxid", "sendermailboxid"] where id == nil {
            if case .id(let mailbox)? = try record?.value(of: name) { id = mailbox }
        }
        guard let id, let name = try await RecordNames(["mailbox": [id]], try visit.session())[id] else { return nil }
        return (id, name)
    }

    /// The addresses that an answer goes to: those of Reply-To, or else the sender's.
    private static func answered(_ record: Record) throws -> [String] {
        let named = try replyAddresses(of: record)
        return named.isEmpty ? [TypedAddresses.address(try text("sender", of: record))] : named
    }

    /// The notice that an answer does not go to the sender's address; nil if the answer goes there.
    private func answersElsewhere(_ record: Record?, _ answered: [String], _ visit: Visit) throws -> String? {
        guard let record, !answered.isEmpty else { return nil }
        let sender = TypedAddresses.address(try Self.text("sender", of: record))
        guard answered != [sender] else { return nil }
        return visit.text("answersElsewhere", ["to": answered.joined(separator: ", "), "sender": sender])
    }
}
