import Email
import JSON
import Model
import Records

// Reads the sender and recipients of an e-mail, and the Message-IDs of the e-mails that it answers.
extension IncomingEmailMembers {
    /// How many addresses, or Message-IDs, an array has at most.
    private static let textLimit = 10_000
    /// How many ids of References are kept. If there are more, the oldest ids are dropped.
    private static let idLimit = 100
    /// The longest Message-ID in a record, in UTF-16 units.
    private static let idUnits = 320

    private static let addressForm = "addresses with ; between them"
    private static let visibleForm =
        "addresses without invisible characters, and without characters that change the direction of text"

    private typealias Person = IncomingEmail.Person

    // MARK: Addresses

    func readPeople(into email: inout IncomingEmail) throws(FieldsealError) {
        guard let from = try text("From") else { throw FieldsealError.misfit("From", "an address") }
        email.from = try author == .router ? Person(from, text("FromName")) : sender(from)
        email.to = try list("To")
        email.cc = try list("Cc")
        email.bcc = try list("Bcc")
        if author == .router { try setNames(in: &email) }
        // The limit of parties includes the sender, so it leaves room for one recipient less.
        guard author == .router || email.to.count + email.cc.count + email.bcc.count < EmailParts.limit else {
            throw FieldsealError(.payloadDoesNotFit, "An e-mail has at most \(EmailParts.limit - 1) recipients in To, Cc and Bcc.")
        }
        email.replyTo = try list("ReplyTo").map(\.address)
        guard author == .router || email.replyTo.count <= ReplyAddresses.limit else {
            throw FieldsealError(
                .stringLengthTooLong,
                "ReplyTo takes at most \(ReplyAddresses.limit) addresses, and this list has \(email.replyTo.count).")
        }
    }

    /// Sets the names that a router sends in separate members. A client writes a name together with its address, in one text.
    private func setNames(in email: inout IncomingEmail) throws(FieldsealError) {
        func set(_ member: String, _ people: inout [Person]) throws(FieldsealError) {
            switch body[member] {
            case nil, .null?: return
            case .array(let names)? where names.count == people.count && names.allSatisfy { $0 == .null || $0.string != nil }:
                for (index, name) in names.enumerated() { people[index].name = name.string }
            default: throw FieldsealError.misfit(member, "an array with a name or null for each address")
            }
        }
        try set("ToNames", &email.to)
        try set("CcNames", &email.cc)
        let names = try namesByAddress()
        guard !names.isEmpty else { return }
        func named(_ person: Person) -> Person { Person(person.address, person.name ?? names[person.address.lowercased()]) }
        email.from = named(email.from)
        (email.to, email.cc, email.bcc) = (email.to.map(named), email.cc.map(named), email.bcc.map(named))
    }

    /// The member `Names`, in which routers of earlier versions send a name for each address. The keys are in lower case.
    private func namesByAddress() throws(FieldsealError) -> [String: String] {
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

    /// The people that a member of the body lists, with their names. A router sends an array of addresses. A client may send one
    /// text with several addresses, which this function parses.
    private func list(_ name: String) throws(FieldsealError) -> [Person] {
        let texts = try texts(name, Self.addressForm)
        guard author == .client || body[name]?.string != nil else { return texts.map { Person($0) } }
        var people: [Person] = []
        for text in texts {
            guard let list = EmailAddressRule.list(text) else {
                throw FieldsealError.misfit(name, "\(Self.addressForm), or an array of them")
            }
            people += list.map { Person($0.address, author == .client ? $0.name : nil) }
        }
        if author == .client { try require(people, of: name) }
        return people
    }

    /// One address with its name, or a text without an address, such as `Mail Delivery Subsystem`.
    private func sender(_ text: String) throws(FieldsealError) -> Person {
        let people = EmailAddressRule.list(text)?.map { Person($0.address, $0.name) }
        if let people, people.count == 1 {
            try require(people, of: "From")
            return people[0]
        }
        guard people?.isEmpty ?? true, !EmailAddressRule.hasAddress(text) else {
            throw FieldsealError.misfit("From", "one address, or words such as Mail Delivery Subsystem")
        }
        guard !text.changesDirection else { throw FieldsealError.misfit("From", Self.visibleForm) }
        return Person(String(text.trimmed))
    }

    /// Refuses addresses and names that look like another address or name when displayed. Also refuses names that are too long for
    /// a record.
    private func require(_ people: [Person], of member: String) throws(FieldsealError) {
        for person in people {
            guard EmailAddressRule.isUsable(person.address), person.name.map(EmailNameRule.isUsable) ?? true else {
                throw FieldsealError.misfit(member, Self.visibleForm)
            }
            try requireFit(person.name ?? "", of: "A name in \(member)", EmailNameRule.limit)
        }
    }

    /// The texts of an array, or one text.
    ///
    /// - Parameter form: What each text must be, as the error says it, such as `addresses with ; between them`.
    private func texts(_ name: String, _ form: String) throws(FieldsealError) -> [String] {
        var texts: [String]?
        switch body[name] {
        case .string(let text)?: texts = [text]
        case nil, .null?: texts = []
        case .array(let values)? where values.count <= Self.textLimit:
            let all = values.compactMap(\.string)
            if all.count == values.count { texts = all }
        default: break
        }
        if let texts {
            for text in texts { try requireCharacters(text, of: name) }
            return texts
        }
        throw FieldsealError.misfit(name, "\(form), or an array of at most \(Self.textLimit) texts")
    }

    // MARK: Message-IDs

    func readIDs(into email: inout IncomingEmail) throws(FieldsealError) {
        email.messageID = try messageID()
        email.references = try ids("References")
        email.inReplyTo = try ids("InReplyTo")
        // The last id of References names the e-mail that was answered directly, so the ids are added in reverse order. A router
        // has already merged References and InReplyTo in this order.
        if author == .client {
            var known = Set(email.inReplyTo)
            for id in email.references.reversed() where known.insert(id).inserted { email.inReplyTo.append(id) }
        }
        email.references = Array(email.references.suffix(Self.idLimit))
    }

    private func messageID() throws(FieldsealError) -> String {
        guard let text = try text("MessageId"), author == .client else { return try self.text("MessageId") ?? "" }
        let list = MessageIDList(text)
        guard list.ids.count <= 1, list.isExact else {
            throw FieldsealError.misfit("MessageId", "one Message-ID, such as <id@host.example>")
        }
        try requireFit(list.ids.first ?? "", of: "MessageId", Self.idUnits)
        return list.ids.first ?? ""
    }

    /// The Message-ID in the form in which earlier versions of the service stored it: without brackets if it has no `@`.
    func earlierMessageID() throws(FieldsealError) -> String {
        let id = String(try text("MessageId")?.trimmed ?? "")
        return id.hasPrefix("<") || !id.contains("@") ? id : "<\(id)>"
    }

    /// The Message-IDs in a member of the body: an array, or one text with white space between the ids, as in a header field.
    private func ids(_ name: String) throws(FieldsealError) -> [String] {
        let texts = try texts(name, "Message-IDs with white space between them")
        let ids = author == .router ? texts : texts.flatMap { MessageIDList($0).ids }
        guard ids.count <= Self.textLimit else {
            throw FieldsealError.misfit(name, "at most \(Self.textLimit) Message-IDs")
        }
        for id in ids { try requireFit(id, of: name, Self.idUnits) }
        return ids
    }
}
