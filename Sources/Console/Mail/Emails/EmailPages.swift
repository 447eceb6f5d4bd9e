import Email
import Foundation
import HTTPTypes
import JSON
import MailFormat
import Model
import Records
import Tenancy
import WebAPI

// E-mails as mail: senders and recipients, the text in a separate frame, attachments, and the conversation.
extension Console {
    func emailPage(_ visit: Visit, _ record: Record) async throws -> PageResponse {
        let entity = EntityDefinition.email
        let session = try visit.session()
        func text(_ name: String) throws -> String { if case .text(let text) = try record.value(of: name) { text } else { "" } }
        let path = "\(visit.root)/records/emails/\(record.id.text)"
        let subject = try text("subject")
        let isIncoming = try record.value(of: "directioncode") == .bool(false)
        let maySend: Bool = try await maySend(visit)
        var values: [String: Any] = [
            "title": subject.isEmpty ? visit.text("noSubject") : subject.withoutDirections, "list": visit.text("email"),
            "set": "emails",
            "action": path,
            "parties": try await parties(record, visit), "hasBody": try !text("description").isEmpty,
            "attachments": try await attachments(record.id, visit, path), "status": false, "isLive": false,
            "isBlocked": try Self.isHTML(record) && Self.mayLoad(Self.shownText(of: record)),
            "mayForward": maySend, "mayReply": isIncoming && maySend, "mayDelete": Self.may(.delete, entity, visit),
            "headers": try headers(record, visit),
            "direction": visit.text(isIncoming ? "received" : "sent"), "mailbox": false,
        ]
        values["hasAttachments"] = (values["attachments"] as? [Any])?.isEmpty == false
        values["mayReplyAll"] = isIncoming && maySend ? try await !otherRecipients(record, visit).isEmpty : false
        values.merge(try shownText(record, path, visit)) { _, new in new }
        values.merge(try await conversationValues(record, visit)) { _, new in new }
        let isShortened = try text("description").utf8.count > Self.shownLength
        values["cut"] = orFalse(
            try Self.cutNotice(record, values["attachments"] as? [[String: Any]] ?? [], visit)
                ?? (isShortened ? visit.text("textShortened") : nil))
        values["failure"] = try await failure(record, path, maySend: maySend, visit)
        values["sentAgain"] = try await sentAgain(record, visit)
        if case .int(let status) = try record.value(of: "statuscode"), let attribute = entity["statuscode"] {
            values["status"] = [
                "style": EmailStatus(rawValue: status)?.style ?? "",
                "text": visit.texts.option(status, of: attribute),
            ]
        }
        for name in ["senton", "actualend", "createdon"] {
            if case .date(let date) = try record.value(of: name) {
                values["when"] = visit.texts.time(date)
                break
            }
        }
        for name in ["receivingmailboxid", "sendermailboxid"] {
            guard case .id(let id) = try record.value(of: name) else { continue }
            values["mailbox"] = [
                "name": try await RecordNames(["mailbox": [id]], session)[id] ?? id.text,
                "href": "\(visit.root)/records/mailboxes/\(id.text)",
            ]
            break
        }
        if visit.query("done") == "sent" {
            values["notice"] = try sendingNotice(record, visit)
            // The page of an e-mail that was just written is updated until the e-mail has been sent.
            values["isLive"] = try [.pendingSend, .sending].contains(Self.status(of: record))
        }
        return .page("email", values)
    }

    /// The name and the value of the parameter that shows the words without their layout.
    private static let wordsShape = (name: "as", words: "text")

    private static func wantsWords(_ visit: Visit) -> Bool { visit.query(wordsShape.name) == wordsShape.words }

    /// The values about the frame with the text. For HTML there is also a view of its words alone, because the layout may hide
    /// words.
    private func shownText(_ record: Record, _ path: String, _ visit: Visit) throws -> [String: Any] {
        let words = "?\(Self.wordsShape.name)=\(Self.wordsShape.words)"
        let isPlain = Self.wantsWords(visit)
        let other: [String: Any] = [
            "href": isPlain ? path : path + words, "text": visit.text(isPlain ? "showLayout" : "showAsText"),
        ]
        return [
            "body": "\(path)/body\(isPlain ? words : "")", "otherShape": orFalse(try Self.isHTML(record) ? other : nil),
            "frame": try MailText(of: record).frame,
        ]
    }

    /// The notice that a record has only a part of a received e-mail; nil if it has all of it.
    private static func cutNotice(_ record: Record, _ attachments: [[String: Any]], _ visit: Visit) throws -> String? {
        guard try isIncomplete(record), case .int(let code) = try record.value(of: "notifications") else { return nil }
        let isKept: Bool = attachments.contains { $0["isOriginal"] as? Bool == true }
        return
            "\(visit.text(code == 2 ? "emailIsCut" : "emailLacksFiles")) \(visit.text(isKept ? "originalAttached" : "originalAtServer"))"
    }

    /// Whether parts of a received e-mail are left out.
    private static func isIncomplete(_ record: Record) throws -> Bool {
        guard try record.value(of: "directioncode") == .bool(false), case .int(let code) = try record.value(of: "notifications")
        else { return false }
        return code == 1 || code == 2
    }

    /// A longer text may have been cut by a router of an earlier version: at 2 MiB, or up to 3 bytes before, at the end of a
    /// character.
    private static let cutLength = (2 << 20) - 4

    /// How many bytes of a text are shown and quoted at most. Reading markup takes seconds for some megabytes.
    private static let shownLength = 1 << 20

    /// The text of an e-mail, or its beginning. If HTML was cut within a tag, the incomplete tag is left out.
    static func shownText(of record: Record) throws -> String {
        let body = try text("description", of: record)
        guard body.utf8.count <= shownLength else {
            let end = body.utf8.index(body.startIndex, offsetBy: shownLength)
            let beginning = String(body.unicodeScalars[..<body.unicodeScalars.index(before: end)])
            return try isHTML(record) ? LargeHTML.withoutOpenEnd(beginning) : beginning
        }
        let isCut = try isHTML(record) && isIncomplete(record) && body.utf8.count > cutLength
        return isCut ? LargeHTML.withoutOpenEnd(body) : body
    }

    /// Runs work with a long text, such as that of an e-mail, outside of the event loops, which serve other clients meanwhile.
    static func inBackground<Value>(_ work: () async throws -> Value) async rethrows -> Value {
        try await withTaskExecutorPreference(BackgroundExecutor.shared, operation: work)
    }

    /// The notice after an e-mail was written; nil if the sending has failed, because the notice would then be wrong.
    private func sendingNotice(_ record: Record, _ visit: Visit) throws -> String? {
        switch try Self.status(of: record) {
        case .pendingSend, .sending: visit.text("emailSent")
        case .sent: visit.text("emailLeft")
        default: nil
        }
    }

    private static func status(of record: Record) throws -> EmailStatus? {
        if case .int(let code) = try record.value(of: "statuscode") { EmailStatus(rawValue: code) } else { nil }
    }

    /// Whether HTML may refer to pictures or styles on other servers.
    private static func mayLoad(_ html: String) -> Bool {
        let html = html.lowercased()
        return ["src", "url(", "<link", "@import", "background="].contains { html.contains($0) }
    }

    /// Why an e-mail was not sent, or not yet, and what can be done; false if there is no reason to show.
    private func failure(_ record: Record, _ path: String, maySend: Bool, _ visit: Visit) async throws -> Any {
        let status = try Self.status(of: record)
        guard status == .failed || status == .pendingSend else { return false }
        let failure = try await visit.session().sendingFailure(of: record.id)
        if status == .pendingSend, failure == nil { return false }
        let title = status == .pendingSend ? "emailWaits" : failure?.mayHaveArrived == true ? "emailUncertain" : "emailFailed"
        var alerts: String?
        if case .id(let mailbox) = try record.value(of: "sendermailboxid"), Navigation.mayList(.traceLog, visit.roles) {
            alerts = "\(visit.root)/records/tracelogs?of=\(mailbox.text)"
        }
        return [
            "title": visit.text(title), "text": orFalse(failure.map { visit.texts.toldReport($0.text) }),
            "again": orFalse(status == .failed && maySend ? "\(path)/again" : nil), "alerts": orFalse(alerts),
        ]
    }

    /// The e-mail that the request names. Throws if the e-mail's status is not *Failed*, and it was not sent again before.
    func failedEmail(_ visit: Visit) async throws -> Record {
        let record = try await email(visit)
        guard try Self.status(of: record) == .failed || SentAgain.copy(of: record) != nil else {
            throw FieldsealError(.invalidArgument, visit.text("notFailed"))
        }
        return record
    }

    private func parties(_ record: Record, _ visit: Visit) async throws -> [[String: Any]] {
        let lists = try await namedParties(record, visit)
        let names: [(Participation, String)] = [(.sender, "from"), (.to, "to"), (.cc, "copyTo"), (.bcc, "blindCopyTo")]
        let parties = names.compactMap { kind, key -> [String: Any]? in
            lists[kind].map { ["label": visit.text(key), "value": $0.joined(separator: ", ")] }
        }
        let answers = try Self.replyAddresses(of: record)
        return answers.isEmpty
            ? parties : parties + [["label": visit.text("answersGoTo"), "value": answers.joined(separator: ", ")]]
    }

    /// The addresses to which answers to a received e-mail go instead of its sender (RFC 5322 section 3.6.2).
    static func replyAddresses(of record: Record) throws -> [String] {
        guard try record.value(of: "directioncode") == .bool(false) else { return [] }
        return ReplyAddresses.read(try text(additional, of: record)).filter(TypedRecord.isAddress)
    }

    /// The sender and the recipients of an e-mail, each as `Name <address>` if both are known.
    func namedParties(_ record: Record, _ visit: Visit) async throws -> [Participation: [String]] {
        var lists: [Participation: [String]] = [:]
        let isReceived = try record.value(of: "directioncode") == .bool(false)
        let sent = try SentName.read(Self.text(Self.additional, of: record))
        for party in try await participants(record, visit) {
            guard let kind = Participation(rawValue: Int(party.kind)) else { continue }
            // If an address in a received e-mail is that of a record, the party's name is the record's and not the one in the
            // e-mail. So a recipient's address is shown alone, and the sender's with the name that was sent.
            let isNamedByRecord = isReceived && party.recordID != nil && party.address != nil
            let (address, name) = (party.address, isNamedByRecord ? kind == .sender ? sent : nil : party.name)
            let shown: String? =
                if let name, let address, name.lowercased() != address.lowercased() { "\(name) <\(address)>" } else {
                    address ?? name
                }
            if let shown { lists[kind, default: []].append(shown.withoutDirections) }
        }
        let sender = try Self.text("sender", of: record)
        if lists[.sender] == nil, !sender.isEmpty { lists[.sender] = [sender.withoutDirections] }
        return lists
    }

    /// The addresses of an e-mail's sender and recipients.
    ///
    /// - Parameter left: The id of a record whose addresses are left out.
    func addresses(_ record: Record, without left: UUID? = nil, _ visit: Visit) async throws -> [Participation: [String]] {
        try await participants(record, visit).reduce(into: [:]) { lists, party in
            guard let kind = Participation(rawValue: Int(party.kind)), let address = party.address,
                party.recordID == nil || party.recordID != left
            else { return }
            lists[kind, default: []].append(address)
        }
    }

    /// The names that an e-mail gives to addresses, as `Name <address>` by the address in lower case. Names of records are left
    /// out, and so are names with an `@`, which may look like another address.
    func namedAddresses(_ record: Record, _ visit: Visit) async throws -> [String: String] {
        var named: [String: String] = [:]
        for party in try await participants(record, visit) where party.recordID == nil {
            guard let address = party.address, let name = party.name?.withoutDirections, !name.contains("@") else { continue }
            let isPlain = name.allSatisfy { $0.isLetter || $0.isNumber || " .'-_".contains($0) }
            let quoted = name.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
            named[address.lowercased()] = "\(isPlain ? name : "\"\(quoted)\"") <\(address)>"
        }
        return named
    }

    /// A sender or a recipient of an e-mail.
    private struct Party {
        let kind: Int64
        let address: String?
        let name: String?
        /// The id of the user, the queue or any other record that the party is.
        let recordID: UUID?
    }

    /// The sender and all recipients of an e-mail.
    private func participants(_ record: Record, _ visit: Visit) async throws -> [Party] {
        var query = RecordQuery()
        query.outputs = ["participationtypemask", "addressused", "partyidname", "partyid"].map { .init(.column(.init($0))) }
        query.filter = .all([
            .compare(.init("activityid"), .equal, .text(record.id.text)),
            .isIn(.init("participationtypemask"), Participation.allCases.map { .number($0.sql) }),
        ])
        let session = try visit.session()
        var page = try await session.list(.activityParty, query)
        var parties = page.records
        while let next = page.next {
            query.after = next
            page = try await session.list(.activityParty, query)
            parties += page.records
        }
        return try parties.compactMap { party in
            guard case .int(let kind) = try party.value(of: "participationtypemask") else { return nil }
            let address: String? = if case .text(let text) = try party.value(of: "addressused") { text } else { nil }
            let name: String? = if case .text(let text) = try party.value(of: "partyidname"), !text.isEmpty { text } else { nil }
            let id: UUID? = if case .id(let id) = try party.value(of: "partyid") { id } else { nil }
            return Party(kind: kind, address: address, name: name, recordID: id)
        }
    }

    /// The attachments in the order that the sender gave them.
    func attachments(_ id: UUID, _ visit: Visit, _ path: String) async throws -> [[String: Any]] {
        var query = RecordQuery()
        query.outputs = ["filename", "filesize", "subject"].map { .init(.column(.init($0))) }
        query.filter = .compare(.init("objectid"), .equal, .text(id.text))
        query.order = ["attachmentnumber", "activitymimeattachmentid"].map { .init(.column(.init($0))) }
        query.pageSize = 200
        return try await visit.session().list(.activityMimeAttachment, query).records.map { attachment in
            let name: String =
                if case .text(let text) = try attachment.value(of: "filename"), !text.isEmpty { text } else {
                    visit.text("unnamed")
                }
            let size: Int64 = if case .int(let size) = try attachment.value(of: "filesize") { size } else { 0 }
            // Only the router gives an attachment a note, when it attaches its copy of the message. A sender can't set a note.
            let hasNote: Bool = if case .text(let note) = try attachment.value(of: "subject") { !note.isEmpty } else { false }
            return [
                "isOriginal": name == "original.eml" && hasNote,
                "id": attachment.id.text, "name": name, "href": "\(path)/attachments/\(attachment.id.text)",
                "size": visit.texts.size(bytes: Int(size)),
            ]
        }
    }

    private func headers(_ record: Record, _ visit: Visit) throws -> [[String: Any]] {
        let names = [
            "messageid", "inreplyto", "trackingtoken", "submittedby", "deliveryattempts", "correlationmethod", "createdon",
            "senton",
        ]
        return try names.compactMap { name in
            guard let attribute = EntityDefinition.email[name] else { return nil }
            let shown = visit.texts.shown(try record.value(of: name), attribute)
            return shown.isEmpty ? nil : ["label": visit.texts.label(attribute, of: .email), "value": shown]
        }
    }

    func email(_ visit: Visit) async throws -> Record {
        guard visit.parameter("set") == "emails", let id = visit.parameter("id").flatMap(UUID.init(text:)),
            let record = try await visit.session().retrieve(.email, .id(id)).records.first
        else { throw FieldsealError.noSuchRecord(.email) }
        return record
    }

    /// The text of an e-mail for the frame in its page.
    @Sendable func emailBody(_ visit: Visit) async throws -> PageResponse {
        let record = try await email(visit)
        return try await Self.inBackground { try Self.emailBody(record, visit) }
    }

    private static func emailBody(_ record: Record, _ visit: Visit) throws -> PageResponse {
        let body = try shownText(of: record)
        guard !body.isEmpty else { return PageResponse(content: .foreign(html: [])) }
        let head =
            "<!DOCTYPE html><meta charset=\"utf-8\"><base target=\"_blank\"><style>body{font:16px/1.5 system-ui,sans-serif;margin:16px;color:#17212b;background:#fff;overflow-wrap:anywhere}img{max-width:100%}td,th{overflow-wrap:break-word}</style>"
        let isHTML = try isHTML(record) && !wantsWords(visit)
        let content =
            isHTML
            ? SafeHTML.rewritten(body)
            : "<div style=\"white-space:pre-wrap\">\(EscapedHTML.escaped(try MailText(of: record).text))</div>"
        return PageResponse(content: .foreign(html: Array((head + content).utf8)))
    }

    @Sendable func emailAttachment(_ visit: Visit) async throws -> PageResponse {
        guard visit.parameter("set") == "emails", let id = visit.parameter("attachment").flatMap(UUID.init(text:)),
            let record = try await visit.session().retrieve(.activityMimeAttachment, .id(id)).records.first,
            try record.value(of: "objectid") == .id(UUID(text: visit.parameter("id") ?? "") ?? id),
            let bytes = Data(base64Encoded: try Self.text("body", of: record))
        else { throw FieldsealError.noSuchRecord(.activityMimeAttachment) }
        var name = "attachment"
        if case .text(let text) = try record.value(of: "filename") {
            let safe = text.filter { $0.isASCII && ($0.isLetter || $0.isNumber || ".-_ ".contains($0)) }
            if !safe.isEmpty { name = safe }
        }
        // A browser saves the file instead of opening it, regardless of its declared type.
        return PageResponse(content: .download(name: name, type: "application/octet-stream", Array(bytes)))
    }
}

extension EmailStatus {
    /// The color of the status.
    var style: String {
        switch self {
        case .failed: "bad"
        case .pendingSend, .sending: "warn"
        case .completed, .sent, .received: "good"
        case .draft, .canceled: ""
        }
    }
}
