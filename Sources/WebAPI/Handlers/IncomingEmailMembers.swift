import Email
import Foundation
import JSON
import Model

/// Reads an e-mail from the members of `CheckIncomingEmail`, `DeliverIncomingEmail` and `fieldseal.DeliverIncomingEmails`. A member
/// that is unknown or of another type is refused: nothing of an e-mail is left out without a word.
struct IncomingEmailMembers {
    private let body: JSONValue

    private static let known: Set<String> = [
        "Attachments", "Bcc", "Body", "BodyType", "Cc", "Digest", "From", "HostId", "Importance", "InReplyTo", "MailboxId",
        "MessageId", "ReceivedOn", "References", "ReplyTo", "Subject", "SubmittedBy", "To",
    ]
    /// What a router alone says of an e-mail.
    private static let ofRouters: Set<String> = ["BodyIsCut", "Names", "OmittedAttachments"]
    /// The members of an attachment, as the attributes of `activitymimeattachment` are called; without regard to case.
    private static let attachmentMembers: Set<String> = [
        "filename", "mimetype", "body", "note", "subject", "attachmentcontentinfo", "contentid",
    ]
    /// The addresses, or Message-IDs, of an array.
    private static let textLimit = 10_000
    /// The ids of References and In-Reply-To that are read at most.
    private static let idLimit = 100

    /// Who wrote the e-mail. A router has the date of the message, which may be any text.
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
        return try IncomingEmailMembers(body: body).email(from: author)
    }

    private func email(from author: Author) throws(FieldsealError) -> IncomingEmail {
        var email = IncomingEmail()
        guard let from = try text("From") else { throw FieldsealError.misfit("From", "an address") }
        email.from = try author == .client ? Self.sender(from) : from
        email.subject = try text("Subject") ?? ""
        email.to = try addresses("To", from: author)
        email.cc = try addresses("Cc", from: author)
        email.bcc = try addresses("Bcc", from: author)
        email.replyTo = try addresses("ReplyTo", from: author)
        guard author == .router || email.replyTo.allSatisfy(ReplyAddresses.isUsable) else {
            throw FieldsealError.misfit(
                "ReplyTo", "addresses without invisible characters and those that change the direction of text")
        }
        email.names =
            try author == .router ? names() : Self.names(in: Self.list(from) + entries("To") + entries("Cc") + entries("Bcc"))
        email.messageID = try text("MessageId") ?? ""
        email.references = try ids("References")
        email.inReplyTo = try ids("InReplyTo")
        // The last of References is the nearest. A router has put both in order.
        for id in email.references.reversed() where author == .client && !email.inReplyTo.contains(id) {
            email.inReplyTo.append(id)
        }
        email.references = Array(email.references.suffix(Self.idLimit))
        email.receivedOn = try date("ReceivedOn", from: author)
        email.importance = try importance()
        email.body = try text("Body") ?? ""
        email.bodyType = try bodyType()
        email.omittedAttachments = try count("OmittedAttachments")
        email.bodyIsCut = try flag("BodyIsCut")
        email.submittedBy = try text("SubmittedBy")
        email.attachments = try attachments()
        email.digest = try digest() ?? email.wordsDigest
        return email
    }

    // MARK: Members

    private func text(_ name: String) throws(FieldsealError) -> String? {
        switch body[name] {
        case .string(let text)?: return text
        case nil, .null?: return nil
        default: throw FieldsealError.misfit(name, "a text")
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

    private func date(_ name: String, from author: Author) throws(FieldsealError) -> Date? {
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

    private func attachments() throws(FieldsealError) -> [IncomingEmail.Attachment] {
        let form = "an array of FileName, MimeType, Subject and Body, which is base64"
        switch body["Attachments"] {
        case nil, .null?: return []
        case .array(let values)?:
            var attachments: [IncomingEmail.Attachment] = []
            for value in values {
                guard case .object(let members) = value else { throw FieldsealError.misfit("Attachments", form) }
                var texts: [String: String] = [:]
                for member in members where !member.name.hasPrefix("@") && member.value != .null {
                    let name = member.name.lowercased()
                    guard Self.attachmentMembers.contains(name), let text = member.value.string,
                        texts.updateValue(text, forKey: name) == nil
                    else {
                        throw FieldsealError.misfit(
                            "Attachments", "\(form); its \(member.name.quotedForMessage) is none of these, or no text")
                    }
                }
                guard let content = texts["body"], Data(base64Encoded: content) != nil else {
                    throw FieldsealError.misfit("Attachments", form)
                }
                attachments.append(
                    .init(
                        name: texts["filename"] ?? "attachment", type: texts["mimetype"] ?? "application/octet-stream",
                        body: content, note: texts["note"], subject: texts["subject"],
                        contentID: texts["contentid"] ?? texts["attachmentcontentinfo"]))
            }
            return attachments
        default: throw FieldsealError.misfit("Attachments", form)
        }
    }

    // MARK: Addresses and ids

    /// The names of people by their addresses.
    private func names() throws(FieldsealError) -> [String: String] {
        let form = "an object with a name for each address"
        switch body["Names"] {
        case nil, .null?: return [:]
        case .object(let members)?:
            guard members.count <= Self.textLimit else { throw FieldsealError.misfit("Names", form) }
            var names: [String: String] = [:]
            for member in members {
                guard let name = member.value.string else { throw FieldsealError.misfit("Names", form) }
                names[member.name.lowercased()] = name
            }
            return names
        default: throw FieldsealError.misfit("Names", form)
        }
    }

    private func addresses(_ name: String, from author: Author) throws(FieldsealError) -> [String] {
        guard author == .client || body[name]?.string != nil else { return try texts(name, Self.addressForm) }
        let addresses = try entries(name).map { Self.named($0).address }
        guard author == .router || addresses.allSatisfy(EmailAddressRule.isOne) else {
            throw FieldsealError.misfit(name, "\(Self.addressForm), or an array of them")
        }
        return addresses
    }

    private static let addressForm = "addresses with ; between them"

    private func entries(_ name: String) throws(FieldsealError) -> [String] { try texts(name, Self.addressForm).flatMap(Self.list) }

    /// One address, or words in its place.
    private static func sender(_ text: String) throws(FieldsealError) -> String {
        let addresses = list(text).map { named($0).address }
        guard !addresses.isEmpty, addresses.allSatisfy(EmailAddressRule.isOne) else { return named(text).address }
        guard addresses.count == 1 else {
            throw FieldsealError.misfit("From", "one address, or words such as Mail Delivery Subsystem")
        }
        return addresses[0]
    }

    /// The names beside addresses, by the addresses.
    private static func names(in entries: [String]) -> [String: String] {
        entries.map(named).reduce(into: [:]) { names, entry in
            guard let name = entry.name, names[entry.address.lowercased()] == nil else { return }
            names[entry.address.lowercased()] = name
        }
    }

    /// The texts of an array, or one text.
    ///
    /// - Parameter form: What a text of the member holds, for a message.
    private func texts(_ name: String, _ form: String) throws(FieldsealError) -> [String] {
        switch body[name] {
        case .string(let text)?: return [text]
        case nil, .null?: return []
        case .array(let values)? where values.count <= Self.textLimit:
            let texts = values.compactMap(\.string)
            if texts.count == values.count { return texts }
        default: break
        }
        throw FieldsealError.misfit(name, "\(form), or an array of at most \(Self.textLimit) texts")
    }

    /// The entries of a list, separated by `;` or `,` outside of quotes and brackets. A name with a comma belongs to the address
    /// behind it: `Doe, John <john@x.example>`. A group (RFC 5322 section 3.4) stands for its members, of which
    /// `undisclosed-recipients:;` has none.
    private static func list(_ text: String) -> [String] {
        var entries: [String] = []
        var entry = ""
        var group: String?
        var (isQuoted, isBracketed) = (false, false)
        func end(by separator: Character?) {
            let isName = separator == "," && !entry.contains("@")
            if isName {
                entry.append(",")
            } else {
                if !entry.trimmed.isEmpty { entries.append(String(entry.trimmed)) }
                entry = ""
            }
        }
        for character in text {
            switch character {
            case "\"": isQuoted.toggle()
            case "<" where !isQuoted: isBracketed = true
            case ">" where !isQuoted: isBracketed = false
            case ":" where !isQuoted && !isBracketed && group == nil && !entry.contains("@"):
                group = entry
                entry = ""
                continue
            case ";" where !isQuoted && !isBracketed, "," where !isQuoted && !isBracketed:
                end(by: character)
                if character == ";" { group = nil }
                continue
            default: break
            }
            entry.append(character)
        }
        // What has no end is no group.
        if let group { entry = "\(group):\(entry)" }
        end(by: nil)
        return entries
    }

    /// The address and the name in `Name <address>`; any other text as it is.
    private static func named(_ text: String) -> (address: String, name: String?) {
        let text = text.trimmed
        guard text.last == ">", let start = text.lastIndex(of: "<") else { return (String(text), nil) }
        let inside = text[text.index(after: start)...].dropLast().trimmed
        guard inside.contains("@") else { return (String(text), nil) }
        var name = text[..<start].split { $0.isWhitespace }.joined(separator: " ")
        if name.count > 1, name.first == "\"", name.last == "\"" {
            name = String(name.dropFirst().dropLast()).replacing("\\\"", with: "\"").replacing("\\\\", with: "\\")
        }
        return (String(inside), name.isEmpty ? nil : name)
    }

    /// Message-IDs as header fields have them, with white space between them, or in an array.
    private func ids(_ name: String) throws(FieldsealError) -> [String] {
        try texts(name, "Message-IDs with white space between them").flatMap { text in
            text.split { $0.isWhitespace || ";,".contains($0) }.map { word in
                !word.hasPrefix("<") && word.contains("@") ? "<\(word)>" : String(word)
            }
        }
    }
}
