import Email
import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// Making and sending the e-mails that people write.
extension Console {
    /// Sends the e-mail of a form, or shows the form again with what is wrong.
    func sendEmail(_ visit: Visit, _ composing: Composing, _ record: Record?) async throws -> PageResponse {
        // When a form is shown again, the browser does not select the chosen files again. The page asks for the files until they
        // are sent, or the person chooses to send without them.
        let files = visit.files.map(\.name)
        let earlier = (visit.form[Self.missingFilesField] ?? "").split(whereSeparator: \.isNewline).map(String.init)
        let missing = visit.form[Self.withoutFilesField] == nil ? earlier.filter { !files.contains($0) } : []
        func again(_ problem: String, _ status: HTTPResponse.Status = .badRequest) async throws -> PageResponse {
            let lost = missing + files
            let names = lost.isEmpty ? "" : " \(visit.text("chooseFilesAgain", ["names": lost.joined(separator: ", ")]))"
            return try await composePage(visit, composing, record, problem: problem + names, lost: lost, status: status)
        }
        if let lost = visit.form[Visit.lostFilesField]?.split(whereSeparator: \.isNewline).map(String.init) {
            if let reply = try await sentEarlier(withFiles: lost, visit) { return reply }
            let problem = visit.text("filesLost", ["names": lost.joined(separator: ", ")])
            return try await composePage(
                visit, composing, record, problem: problem, lost: missing.filter { !lost.contains($0) } + lost,
                status: .contentTooLarge)
        }
        guard missing.isEmpty else {
            if files.isEmpty, let reply = try await sentEarlier(withFiles: missing, visit) { return reply }
            return try await again(visit.text("filesMissing"))
        }
        do {
            let recipients = try [("to", Participation.to), ("cc", .cc), ("bcc", .bcc)].flatMap {
                try self.recipients($0.0, $0.1, visit)
            }
            guard recipients.contains(where: { $0["participationtypemask"] == .integer(Int64(Participation.to.rawValue)) }) else {
                return try await again(visit.text("noRecipient"))
            }
            let sender = try await self.sender(visit)
            if isEmpty(visit, composing), visit.form[Self.emptyField] == nil {
                return try await composePage(visit, composing, record, asksEmpty: true, status: .conflict)
            }
            var members: [JSONValue.Member] = [
                .init("subject", .string(visit.form["subject"] ?? "")),
                .init("directioncode", true), .init("email_activity_parties", .array([sender] + recipients)),
            ]
            members += try await content(visit, composing, record)
            if let parent = try Self.parent(record, composing) {
                members.append(.init("parentactivityid@odata.bind", .string("/emails(\(parent.text))")))
            }
            let taken: [JSONValue] =
                if let record, composing.takesAttachments { try await takenAlong(record.id, visit) } else { [] }
            let attached = try attached(besides: taken, visit)
            if !attached.isEmpty { members.append(.init("email_activity_mime_attachment", .array(attached))) }
            let id = try await submit(members, as: try await emailID(visit, attached: attached), visit)
            if composing == .again, let record { await noteSentAgain(record, as: id, visit) }
            return Self.sentReply(id, visit)
        } catch {
            guard let (message, status) = Self.refusal(error) else { throw error }
            return try await again(visit.texts.told(message), status)
        }
    }

    /// Whether the person typed neither a subject nor a text, and attached nothing. A forwarded e-mail has a text.
    private func isEmpty(_ visit: Visit, _ composing: Composing) -> Bool {
        func isBlank(_ field: String) -> Bool { (visit.form[field] ?? "").allSatisfy(\.isWhitespace) }
        let takesSome = visit.form.keys.contains { $0.hasPrefix(Self.attachmentField) }
        return composing != .forward && isBlank("subject") && isBlank("body") && visit.files.isEmpty && !takesSome
            && visit.form["quote"] == nil
    }

    /// Creates an e-mail and submits it. If the e-mail can't be submitted, it is deleted again.
    private func submit(_ members: [JSONValue.Member], as own: UUID?, _ visit: Visit) async throws -> UUID {
        let session = try visit.session()
        let (id, isNew) = try await made(.email, as: own, members, visit)
        guard isNew else { return id }
        do {
            try await session.write(.message(.email, id, .sendEmail(issue: true, token: nil)))
        } catch {
            // Without this deletion, an e-mail that can't be sent would stay as a draft.
            _ = try? await session.write(.delete(.email, .id(id)))
            throw error
        }
        return id
    }

    private func recipients(_ field: String, _ kind: Participation, _ visit: Visit) throws(FieldsealError) -> [JSONValue] {
        var parties: [JSONValue] = []
        for text in TypedAddresses.split(visit.form[field] ?? "") {
            let address = TypedAddresses.address(text)
            guard TypedRecord.isAddress(address) else {
                throw FieldsealError(.invalidArgument, visit.text("wrongAddress", ["text": text]))
            }
            let name: JSONValue = TypedAddresses.name(text).map { .string($0.cut(to: 400)) } ?? .null
            parties.append([
                "participationtypemask": .integer(Int64(kind.rawValue)), "addressused": .string(address), "partyidname": name,
            ])
        }
        return parties
    }

    /// The queue or the user of the chosen mailbox.
    private func sender(_ visit: Visit) async throws -> JSONValue {
        let name = (visit.form["from"] ?? "").trimmingCharacters(in: .whitespaces)
        guard !name.isEmpty, let attribute = EntityDefinition.email["sendermailboxid"] else {
            throw FieldsealError(.invalidArgument, visit.text("noMailboxChosen"))
        }
        let named = name == visit.form["fromName"] ? visit.form["fromID"].flatMap(UUID.init(text:)) : nil
        let mailbox: UUID = if let named { named } else { try await lookedUp(name, attribute, visit).id }
        guard let found = try await visit.session().retrieve(.mailbox, .id(mailbox)).records.first,
            case .id(let sender) = try found.value(of: "regardingobjectid"),
            let entity = EntityCatalog.entity(try Self.text("regardingobjecttypecode", of: found))
        else { throw FieldsealError(.invalidArgument, visit.text("noSender")) }
        return [
            "participationtypemask": .integer(Int64(Participation.sender.rawValue)),
            "partyid_\(entity.logicalName)@odata.bind": .string("/\(entity.entitySetName)(\(sender.text))"),
        ]
    }

    /// The e-mail that a new e-mail answers.
    private static func parent(_ record: Record?, _ composing: Composing) throws -> UUID? {
        guard let record else { return nil }
        if composing.isReply { return record.id }
        if composing == .again, case .id(let id) = try record.value(of: "parentactivityid") { return id }
        return nil
    }

    /// The text and its type. If an e-mail is sent again with an unchanged text, the text keeps its formatting.
    private func content(_ visit: Visit, _ composing: Composing, _ record: Record?) async throws -> [JSONValue.Member] {
        if composing == .again, let record,
            visit.form["body"]?.replacing("\r\n", with: "\n") == (try MailText(of: record).text)
        {
            return [
                .init("description", .string(try Self.text("description", of: record))),
                .init("mimetype", .string(try Self.isHTML(record) ? "text/html" : "text/plain")),
            ]
        }
        return [.init("mimetype", "text/html"), .init("description", .string(try await body(visit, composing, record)))]
    }

    /// The typed text, with the forwarded or quoted e-mail below it.
    private func body(_ visit: Visit, _ composing: Composing, _ record: Record?) async throws -> String {
        func lines(_ text: String) -> String {
            EscapedHTML.escaped(text).replacing("\r\n", with: "\n").replacing("\n", with: "<br>\n")
        }
        let typed = "<p>\(lines(visit.form["body"] ?? ""))</p>"
        // After the markup is removed, the text has an empty line here too.
        let gap = "\n<div><br></div>\n"
        guard let record else { return typed }
        if composing == .forward { return "\(typed)\(gap)\(try await forwardedPart(record, visit))" }
        guard composing.isReply, visit.form["quote"] != nil else { return typed }
        let facts = ["when": try moment(of: record, visit) ?? "", "who": try await named(.sender, record, visit)]
        let quoted = lines(try MailText(of: record).text)
        return "\(typed)\(gap)<div>\(EscapedHTML.escaped(visit.text("wrote", facts)))</div>\n<blockquote>\(quoted)</blockquote>"
    }

    /// When an e-mail was sent, or else stored.
    private func moment(of record: Record, _ visit: Visit) throws -> String? {
        for name in ["senton", "createdon"] {
            if case .date(let date) = try record.value(of: name) { return visit.texts.moment(date) }
        }
        return nil
    }

    /// The senders or recipients of an e-mail, with the names that the e-mail gives them.
    private func named(_ kind: Participation, _ record: Record, _ visit: Visit) async throws -> String {
        try await namedParties(record, visit)[kind]?.joined(separator: ", ") ?? ""
    }

    private func forwardedPart(_ forwarded: Record, _ visit: Visit) async throws -> String {
        var head: [(String, String)] = [(visit.text("from"), try await named(.sender, forwarded, visit))]
        if let moment = try moment(of: forwarded, visit) { head.append((visit.text("when"), moment)) }
        head.append((visit.text("to"), try await named(.to, forwarded, visit)))
        head.append((visit.text("subject"), try Self.text("subject", of: forwarded)))
        let facts = head.map { "<b>\(EscapedHTML.escaped($0.0)):</b> \(EscapedHTML.escaped($0.1))" }.joined(separator: "<br>\n")
        let text = try Self.shownText(of: forwarded)
        let original =
            try Self.isHTML(forwarded)
            ? "<div>\(text)</div>" : "<div style=\"white-space:pre-wrap\">\(EscapedHTML.escaped(text))</div>"
        return "<hr>\n<p>\(facts)</p>\n\(original)"
    }

    /// Whether an e-mail's text is HTML: by its declared type, or else by its contents.
    static func isHTML(_ record: Record) throws -> Bool {
        let type = try text("mimetype", of: record).lowercased()
        if type.hasPrefix("text/plain") || type.hasPrefix("text/html") { return type.hasPrefix("text/html") }
        let body = try text("description", of: record)
        return body.contains("</") || body.contains("<br") || body.contains("<p")
    }

    /// All attachments: those of the earlier e-mail, and the files that the person chose.
    private func attached(besides taken: [JSONValue], _ visit: Visit) throws(FieldsealError) -> [JSONValue] {
        var size = taken.reduce(0) { $0 + ($1["body"]?.string?.utf8.count ?? 0) }
        var attached = taken
        for file in visit.files {
            let body = Data(file.bytes).base64EncodedString()
            size += body.utf8.count
            guard size <= Self.attachedBytes else { throw FieldsealError(.invalidArgument, visit.text("attachmentsTooLarge")) }
            var members: [JSONValue.Member] = [.init("body", .string(body)), .init("filename", .string(file.name.cut(to: 255)))]
            if MailMediaType.isOne(file.type) { members.append(.init("mimetype", .string(file.type))) }
            attached.append(.object(members))
        }
        return attached
    }

    /// The chosen attachments of the earlier e-mail, in the order that they have there.
    ///
    /// - Throws: ``FieldsealError`` when the attachments are too large together, or an attachment no longer exists. No attachment
    ///   is left out silently.
    private func takenAlong(_ email: UUID, _ visit: Visit) async throws -> [JSONValue] {
        var taken: [JSONValue] = []
        var size = 0
        let order = try await attachments(email, visit, "").compactMap { $0["id"] as? String }
        let chosen = visit.form.keys.filter { $0.hasPrefix(Self.attachmentField) }
            .map { String($0.dropFirst(Self.attachmentField.count)) }
        for name in chosen.sorted(by: { (order.firstIndex(of: $0) ?? .max, $0) < (order.firstIndex(of: $1) ?? .max, $1) }) {
            guard let id = UUID(text: name),
                let found = try await visit.session().retrieve(.activityMimeAttachment, .id(id)).records.first,
                try found.value(of: "objectid") == .id(email)
            else { throw FieldsealError.noSuchRecord(.activityMimeAttachment) }
            let body = try Self.text("body", of: found)
            size += body.utf8.count
            guard size <= Self.attachedBytes else { throw FieldsealError(.invalidArgument, visit.text("attachmentsTooLarge")) }
            var members: [JSONValue.Member] = [.init("body", .string(body))]
            for name in ["filename", "mimetype"] {
                let text = try Self.text(name, of: found)
                // The stored type may come from an older version of the service. A type that is not a media type is left out.
                if !text.isEmpty, name != "mimetype" || MailMediaType.isOne(text) { members.append(.init(name, .string(text))) }
            }
            taken.append(.object(members))
        }
        return taken
    }
}
