import Email
import Foundation
import JSON
import Model
import Records

/// Reads an e-mail from the members of `CheckIncomingEmail`, `DeliverIncomingEmail` and `fieldseal.DeliverIncomingEmails`. A
/// member that is unknown or of another type is refused, so that no part of an e-mail is lost unnoticed.
struct IncomingEmailMembers {
    let body: JSONValue
    let author: Author

    private static let known: Set<String> = [
        "Attachments", "Bcc", "Body", "BodyType", "Cc", "Digest", "From", "HostId", "Importance", "InReplyTo", "MailboxId",
        "MessageId", "ReceivedOn", "References", "ReplyTo", "Subject", "SubmittedBy", "To",
    ]
    /// Members that only routers may send.
    private static let ofRouters: Set<String> = [
        "BodyIsCut", "CcNames", "FromName", "Names", "OmittedAttachments", "ToNames",
    ]
    /// The members of an attachment: the attributes of `activitymimeattachment`, in upper or lower case. The number is the length
    /// of the longest text that a record stores, in UTF-16 units.
    private static let attachmentMembers = [
        "filename": 255, "mimetype": 256, "body": Int.max, "subject": 2_000, "attachmentcontentinfo": 300,
    ]
    /// The members of an attachment that a router sends.
    private static let attachmentMembersOfRouters = [
        "filename": 255, "mimetype": 256, "body": Int.max, "note": 2_000, "contentid": 300,
    ]
    /// Who sends the e-mail to the service. A router sends the date as the message has it. Such a date may be any text.
    enum Author {
        case client, router
    }

    /// - Throws: ``FieldsealError`` that names a member.
    static func read(_ body: JSONValue, from author: Author) throws(FieldsealError) -> IncomingEmail {
        guard case .object(let members) = body else { throw FieldsealError.misfit("Emails", "an array of objects") }
        let known = author == .router ? known.union(ofRouters) : known
        if let unknown = members.first(where: { !known.contains($0.name) && !$0.name.hasPrefix("@") }) {
            throw FieldsealError(
                .payloadDoesNotFit,
                "An incoming e-mail has no member \(unknown.name.quotedForMessage), but \(known.sorted().joined(separator: ", ")).")
        }
        return try IncomingEmailMembers(body: body, author: author).email()
    }

    private func email() throws(FieldsealError) -> IncomingEmail {
        var email = IncomingEmail()
        try readPeople(into: &email)
        try readIDs(into: &email)
        email.subject = try text("Subject", limit: EntityDefinition.emailSubjectUnits) ?? ""
        email.receivedOn = try date("ReceivedOn")
        email.importance = try importance()
        email.body = try text("Body") ?? ""
        email.bodyType = try bodyType()
        email.omittedAttachments = try count("OmittedAttachments")
        email.bodyIsCut = try flag("BodyIsCut")
        email.submittedBy = try text("SubmittedBy", limit: 250)
        email.attachments = try attachments()
        if let digest = try digest() {
            email.digest = digest
        } else {
            email.digest = email.wordsDigest
            email.earlierDigest = email.earlierWordsDigest(messageID: try earlierMessageID())
        }
        return email
    }

    // MARK: Members

    /// - Parameter limit: The length of the longest text that a record stores, in UTF-16 units. A client's longer text is refused.
    ///   A router's longer text is cut later.
    func text(_ name: String, limit: Int = .max) throws(FieldsealError) -> String? {
        switch body[name] {
        case .string(let text)?:
            try requireFit(text, of: name, limit)
            try requireCharacters(text, of: name)
            return text
        case nil, .null?: return nil
        default: throw FieldsealError.misfit(name, "a text")
        }
    }

    /// Refuses a client's text that is too long for a record. A router's text is cut instead.
    func requireFit(_ text: String, of name: String, _ limit: Int) throws(FieldsealError) {
        guard author == .router || text.utf16.count <= limit else {
            throw FieldsealError(
                .stringLengthTooLong, "\(name) takes at most \(limit) characters, and this value has \(text.utf16.count).")
        }
    }

    /// Refuses U+0000 in a client's text, because PostgreSQL's texts can't contain it.
    func requireCharacters(_ text: String, of name: String) throws(FieldsealError) {
        guard author == .router || !text.utf8.contains(0) else {
            throw FieldsealError(.invalidArgument, "\(name) can't hold the character U+0000.")
        }
    }

    private func flag(_ name: String) throws(FieldsealError) -> Bool {
        switch body[name] {
        case .bool(let value)?: return value
        case nil, .null?: return false
        default: throw FieldsealError.misfit(name, "true or false")
        }
    }

    private func count(_ name: String) throws(FieldsealError) -> Int {
        switch body[name] {
        case .integer(let number)? where (0...1_000_000).contains(number): return Int(number)
        case nil, .null?: return 0
        default: throw FieldsealError.misfit(name, "a number of at least 0")
        }
    }

    private func date(_ name: String) throws(FieldsealError) -> Date? {
        guard let text = try text(name), !text.isEmpty else { return nil }
        if let date = ISO8601.date(text), ISO8601.ofRecords.contains(date) { return date }
        guard author == .router else {
            throw FieldsealError.misfit(name, "a time such as 2026-11-20T10:00:00Z, of the years 1753 to 9999")
        }
        return nil
    }

    private func importance() throws(FieldsealError) -> Int {
        switch body["Importance"] {
        case nil, .null?: return 1
        case .integer(let number)? where (0...2).contains(number): return Int(number)
        case .string(let word)?:
            if let value = ["low": 0, "normal": 1, "high": 2, "0": 0, "1": 1, "2": 2, "": 1][word.lowercased()] { return value }
        default: break
        }
        throw FieldsealError.misfit("Importance", "Low, Normal or High")
    }

    private func bodyType() throws(FieldsealError) -> String {
        guard let type = try text("BodyType"), !type.isEmpty else { return "text/plain" }
        let media = type.prefix { $0 != ";" }.trimmed.lowercased()
        guard ["text/plain", "text/html"].contains(media) else {
            throw FieldsealError.misfit("BodyType", "text/plain or text/html")
        }
        return media
    }

    private func digest() throws(FieldsealError) -> [UInt8]? {
        guard let text = try text("Digest") else { return nil }
        guard let bytes = Data(base64Encoded: text), bytes.count == 32 else {
            throw FieldsealError.misfit("Digest", "SHA-256 of the message, in base64")
        }
        return Array(bytes)
    }

    private static let attachmentForm =
        "an array of FileName, MimeType, Subject, AttachmentContentInfo and Body, which is base64"

    private func attachments() throws(FieldsealError) -> [IncomingEmail.Attachment] {
        switch body["Attachments"] {
        case nil, .null?: return []
        case .array(let values)?:
            guard author == .router || values.count <= EmailParts.limit else {
                throw FieldsealError.misfit("Attachments", "\(Self.attachmentForm), with at most \(EmailParts.limit) files")
            }
            var attachments: [IncomingEmail.Attachment] = []
            for value in values { attachments.append(try attachment(value)) }
            return attachments
        default: throw FieldsealError.misfit("Attachments", Self.attachmentForm)
        }
    }

    private func attachment(_ value: JSONValue) throws(FieldsealError) -> IncomingEmail.Attachment {
        guard case .object(let members) = value else { throw FieldsealError.misfit("Attachments", Self.attachmentForm) }
        try ParsedValues.require(
            type: value["@odata.type"], of: [EntityDefinition.activityMimeAttachment.logicalName, "IncomingAttachment"])
        let texts = try attachmentTexts(members)
        guard let content = texts["body"], let bytes = Data(base64Encoded: content) else {
            throw FieldsealError.misfit("Attachments", Self.attachmentForm)
        }
        let type = texts["mimetype"]
        if author == .client, let type, !type.isEmpty { try MediaTypeRule.check(type) }
        let name = texts["filename"] ?? ""
        return .init(
            name: name.isEmpty ? EmailParts.Attachment.defaultName : name, type: type, body: content, size: bytes.count,
            note: texts["note"], subject: texts["subject"], contentID: texts["contentid"] ?? texts["attachmentcontentinfo"])
    }

    /// The members of an attachment, by their names in lower case.
    private func attachmentTexts(_ members: [JSONValue.Member]) throws(FieldsealError) -> [String: String] {
        let limits = author == .router ? Self.attachmentMembersOfRouters : Self.attachmentMembers
        var names: Set<String> = []
        var texts: [String: String] = [:]
        for member in members where !member.name.hasPrefix("@") {
            let name = member.name.lowercased()
            guard names.insert(name).inserted else {
                throw FieldsealError.misfit(
                    "Attachments", "\(Self.attachmentForm), each of them once; \(member.name.quotedForMessage) is given twice")
            }
            if member.value == .null { continue }
            guard let limit = limits[name], let text = member.value.string else {
                throw FieldsealError.misfit(
                    "Attachments", "\(Self.attachmentForm); its \(member.name.quotedForMessage) is none of these, or no text")
            }
            try requireFit(text, of: member.name, limit)
            try requireCharacters(text, of: member.name)
            texts[name] = text
        }
        return texts
    }
}
