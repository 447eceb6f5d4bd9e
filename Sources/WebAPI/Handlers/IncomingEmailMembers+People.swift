import Email
import JSON
import Model
import Records

// The people of an e-mail, and the e-mails that it answers.
extension IncomingEmailMembers {
    /// How many addresses, or Message-IDs, an array has at most.
    private static let textLimit = 10_000
    /// How many ids of References are kept, the last ones.
    private static let idLimit = 100
    /// The longest Message-ID in a record, in UTF-16 units.
    private static let idUnits = 320
    /// The longest name in a record, in UTF-16 units.
    private static let nameUnits = 400

    private static let addressForm = "addresses with ; between them"
    private static let visibleForm = "addresses without invisible characters and those that change the direction of text"

    private typealias Entry = (address: String, name: String?)

    // MARK: Addresses

    func readPeople(into email: inout IncomingEmail) throws(FieldsealError) {
        var entries: [Entry] = []
        func people(_ name: String) throws(FieldsealError) -> [String] {
            let found = try list(name)
            if name != "ReplyTo" { entries += found }
            return found.map(\.address)
        }
        guard let from = try text("From") else { throw FieldsealError.misfit("From", "an address") }
        let sender: Entry = try author == .router ? (from, nil) : self.sender(from)
        email.from = sender.address
        entries.append(sender)
        email.to = try people("To")
        email.cc = try people("Cc")
        email.bcc = try people("Bcc")
        // The sender is a party too.
        guard author == .router || entries.count <= EmailParts.limit else {
            throw FieldsealError(.payloadDoesNotFit, "An e-mail has at most \(EmailParts.limit - 1) recipients in To, Cc and Bcc.")
        }
        email.replyTo = try people("ReplyTo")
        guard author == .router || email.replyTo.count <= ReplyAddresses.limit else {
            throw FieldsealError(
                .stringLengthTooLong,
                "ReplyTo takes at most \(ReplyAddresses.limit) addresses, and this list has \(email.replyTo.count).")
        }
        guard author == .client else { return email.names = try names() }
        for case (let address, let name?) in entries where email.names[address.lowercased()] == nil {
            email.names[address.lowercased()] = name
        }
    }

    /// The names of people by their addresses, as a router sends them.
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

    /// The addresses of a member, with their names. A router sends an array of parsed addresses; a single text is parsed here.
    private func list(_ name: String) throws(FieldsealError) -> [Entry] {
        let texts = try texts(name, Self.addressForm)
        guard author == .client || body[name]?.string != nil else { return texts.map { ($0, nil) } }
        var entries: [Entry] = []
        for text in texts {
            guard let list = EmailAddressRule.list(text) else {
                throw FieldsealError.misfit(name, "\(Self.addressForm), or an array of them")
            }
            entries += list
        }
        if author == .client { try require(entries, of: name) }
        return entries
    }

    /// One address with its name, or a text without an address, such as `Mail Delivery Subsystem`.
    private func sender(_ text: String) throws(FieldsealError) -> Entry {
        let entries = EmailAddressRule.list(text)
        if let entries, entries.count == 1 {
            try require(entries, of: "From")
            return entries[0]
        }
        guard entries?.isEmpty ?? true, !EmailAddressRule.hasAddress(text) else {
            throw FieldsealError.misfit("From", "one address, or words such as Mail Delivery Subsystem")
        }
        guard !text.changesDirection else { throw FieldsealError.misfit("From", Self.visibleForm) }
        return (String(text.trimmed), nil)
    }

    /// Refuses addresses and names that look like others when displayed, and names that are too long for a record.
    private func require(_ entries: [Entry], of member: String) throws(FieldsealError) {
        for (address, name) in entries {
            guard EmailAddressRule.isUsable(address), !(name?.changesDirection ?? false) else {
                throw FieldsealError.misfit(member, Self.visibleForm)
            }
            try requireFit(name ?? "", of: "A name in \(member)", Self.nameUnits)
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

    // MARK: Message-IDs

    func readIDs(into email: inout IncomingEmail) throws(FieldsealError) {
        email.messageID = try messageID()
        email.references = try ids("References")
        email.inReplyTo = try ids("InReplyTo")
        // The last id of References is that of the nearest e-mail, so it comes first. A router has merged both lists in this
        // order already.
        for id in email.references.reversed() where author == .client && !email.inReplyTo.contains(id) {
            email.inReplyTo.append(id)
        }
        email.references = Array(email.references.suffix(Self.idLimit))
    }

    private func messageID() throws(FieldsealError) -> String {
        guard let text = try text("MessageId"), author == .client else { return try self.text("MessageId") ?? "" }
        let ids = Self.ids(in: text)
        guard ids.count <= 1 else { throw FieldsealError.misfit("MessageId", "one Message-ID, such as <id@host.example>") }
        try requireFit(ids.first ?? "", of: "MessageId", Self.idUnits)
        return ids.first ?? ""
    }

    /// Message-IDs as header fields have them, with white space between them, or in an array.
    private func ids(_ name: String) throws(FieldsealError) -> [String] {
        let ids = try texts(name, "Message-IDs with white space between them").flatMap { Self.ids(in: $0) }
        for id in ids { try requireFit(id, of: name, Self.idUnits) }
        return ids
    }

    private static func ids(in text: String) -> [String] {
        text.split { $0.isWhitespace || ";,".contains($0) }.map { word in
            !word.hasPrefix("<") && word.contains("@") ? "<\(word)>" : String(word)
        }
    }
}
