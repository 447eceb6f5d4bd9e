import Foundation
import JSON
import Model
import Records

/// The typed values of a record's form, converted to the JSON members that a client would send.
struct TypedRecord {
    private let visit: Visit
    private let entity: EntityDefinition
    private let isNew: Bool
    private let record: Record?
    private let fields: [AttributeDefinition]
    /// The attributes that are written even if they were not edited.
    private let confirmed: Set<String>

    /// The fields of the form as they were loaded.
    let loaded: [String: String]
    /// The typed values, or the other person's value if it was chosen in a conflict.
    private(set) var typed: [String: String]
    private(set) var members: [JSONValue.Member] = []
    private(set) var errors: [String: String] = [:]

    /// - Parameter confirms: Whether unedited settings that decide where passwords are sent are written too.
    init(_ visit: Visit, _ entity: EntityDefinition, isNew: Bool, record: Record?, confirms: Bool = false) {
        self.visit = visit
        self.entity = entity
        self.isNew = isNew
        self.record = record
        confirmed = confirms ? Set(MailDestination.attributes(of: entity.logicalName)) : []
        fields = RecordForm.fields(entity, for: isNew ? .create : .update, visit.roles)
        loaded = Self.loaded(visit)
        typed = visit.form
        for attribute in fields where !attribute.isEncrypted && isTheirs(attribute.logicalName) {
            typed[attribute.logicalName] = loaded[attribute.logicalName]
        }
        for attribute in fields where !attribute.isEncrypted { readPlain(attribute) }
        if confirms { confirmHolder() }
    }

    private static func loaded(_ visit: Visit) -> [String: String] {
        guard let text = visit.form["loaded"], case .object(let members)? = try? JSONParser.parse(Array(text.utf8)) else {
            return [:]
        }
        return members.reduce(into: [:]) { $0[$1.name] = $1.value.string }
    }

    /// Whether a form turns a flag on that was off.
    static func chose(_ flag: String, _ visit: Visit) -> Bool {
        visit.form[flag] == "true" && loaded(visit)[flag] != "true"
    }

    /// Adds the queue or the user of a mailbox, which no form edits, so that the save confirms it.
    private mutating func confirmHolder() {
        guard entity === EntityDefinition.mailbox, let attribute = entity["regardingobjectid"], let holder = record?.mailboxHolder
        else { return }
        bind(attribute, holder.entity, holder.id)
    }

    /// Whether, in a conflict, the person chose the other person's value.
    private func isTheirs(_ name: String) -> Bool { visit.form["\(name)!choose"] == "theirs" }

    private mutating func readPlain(_ attribute: AttributeDefinition) {
        let name = attribute.logicalName
        // A browser sends line breaks as CR LF. The line breaks are converted to LF, as in the record.
        guard let text = typed[name]?.replacing("\r\n", with: "\n") else { return }
        // The router writes to a mailbox without changing its version. Writing a value that was loaded and not edited would undo
        // the router's change.
        if !isNew, !confirmed.contains(name), loaded[name]?.replacing("\r\n", with: "\n") == text { return }
        switch attribute.type {
        case .boolean:
            // If a flag was never set, an unchecked box leaves it unset.
            if !text.isEmpty, !(loaded[name]?.isEmpty == true && text == "false") {
                members.append(.init(name, .bool(text == "true")))
            }
        case .integer(let range):
            if text.isEmpty {
                clear(attribute)
            } else if let number = Int64(text.filter { !$0.isWhitespace }), range.contains(number) {
                members.append(.init(name, .integer(number)))
            } else {
                errors[name] = visit.text(
                    "numberBetween",
                    ["from": visit.texts.number(Int(range.lowerBound)), "to": visit.texts.number(Int(range.upperBound))])
            }
        case .picklist:
            // A profile that never had a type stays as it is, until a person chooses one.
            if text.isEmpty, RecordForm.needsOption(attribute), isNew || loaded[name]?.isEmpty == false {
                errors[name] = visit.text("isNeeded")
            } else if text.isEmpty {
                clear(attribute)
            } else if let number = Int64(text) {
                members.append(.init(name, .integer(number)))
            }
        case .dateTime:
            if text.isEmpty {
                clear(attribute)
            } else if ISO8601.date(text) != nil {
                members.append(.init(name, .string(text)))
            } else {
                errors[name] = visit.text("notADate")
            }
        case .lookup, .owner: break
        default: readText(attribute, text)
        }
    }

    private mutating func readText(_ attribute: AttributeDefinition, _ text: String) {
        let name = attribute.logicalName
        if name == entity.primaryName, text.allSatisfy(\.isWhitespace) {
            errors[name] = visit.text("isNeeded")
        } else if name == "emailaddress", !text.isEmpty, text != loaded[name], !Self.isAddress(text) {
            errors[name] = visit.text("notAnAddress")
        } else if !text.isEmpty {
            members.append(.init(name, .string(text)))
        } else {
            clear(attribute)
        }
    }

    private mutating func clear(_ attribute: AttributeDefinition) {
        if !isNew, attribute.required != .system { members.append(.init(attribute.logicalName, .null)) }
    }

    static func isAddress(_ text: String) -> Bool {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        return parts.count == 2 && parts.allSatisfy { !$0.isEmpty } && !text.contains { $0.isWhitespace || "<>,;\"".contains($0) }
    }

    /// Reads passwords that were typed or cleared, now or in an earlier attempt that could not be saved.
    mutating func readSecrets(_ secrets: KeptSecrets) {
        for attribute in fields where attribute.isEncrypted {
            guard let text = visit.form[attribute.logicalName], !isTheirs(attribute.logicalName) else { continue }
            let name = attribute.logicalName
            let kept = visit.form[KeptSecrets.field(name)].flatMap { $0.isEmpty ? nil : $0 }
            if visit.form["\(name)!clear"] != nil {
                if text.isEmpty { members.append(.init(name, .null)) } else { errors[name] = visit.text("typedAndCleared") }
            } else if !text.isEmpty {
                members.append(.init(name, .string(text)))
            } else if let kept {
                if let text = secrets.opened(kept, for: name) {
                    members.append(.init(name, .string(text)))
                } else {
                    errors[name] = visit.text("typeAgain")
                }
            }
        }
    }

    /// Whether nothing was typed, chosen or cleared since the form was loaded.
    var isUnchanged: Bool {
        let compared = compared
        return fields.allSatisfy { attribute in
            let name = attribute.logicalName
            guard let text = compared[name]?.replacing("\r\n", with: "\n") else { return true }
            if case .boolean = attribute.type, text == "false", loaded[name]?.isEmpty == true { return true }
            return text == loaded[name]
        }
    }

    /// Whether a field was edited that the person's role does not allow, because the role has changed since the form was loaded.
    var isForbidden: Bool {
        entity.attributes.contains { attribute in
            let name = attribute.logicalName
            guard !fields.contains(where: { $0.logicalName == name }), let loaded = loaded[name],
                let text = visit.form[name]?.replacing("\r\n", with: "\n")
            else { return false }
            if attribute.isEncrypted {
                return !text.isEmpty || visit.form["\(name)!clear"] != nil || visit.form[KeptSecrets.field(name)]?.isEmpty == false
            }
            if case .boolean = attribute.type, text == "false", loaded.isEmpty { return false }
            return text != loaded
        }
    }

    /// Whether a password was typed.
    var setsPassword: Bool { members.contains { entity[$0.name]?.isEncrypted == true && $0.value != .null } }

    /// The values to compare with those of another person. An encrypted attribute that was typed or cleared gets a text that equals
    /// no mark.
    var compared: [String: String] {
        fields.filter(\.isEncrypted).reduce(into: typed) { values, attribute in
            let name = attribute.logicalName
            let written = members.first { $0.name == name }?.value
            values[name] = written.map { $0 == .null ? "" : "typed" } ?? loaded[name] ?? ""
        }
    }

    /// Reads references, which people enter by the names of records.
    ///
    /// - Parameter dangling: The fields that refer to deleted records. A reference that was not edited is not changed.
    mutating func readReferences(
        dangling: Set<String>, _ find: (String, AttributeDefinition) async throws -> (entity: EntityDefinition, id: UUID)
    ) async {
        for attribute in fields where attribute.type.isReference {
            let name = attribute.logicalName
            guard let text = typed[name]?.trimmingCharacters(in: .whitespaces) else { continue }
            if text.isEmpty {
                if !isNew, attribute.required != .system, loaded[name]?.isEmpty == false { members.append(.init(name, .null)) }
                continue
            }
            if text == loaded[name] {
                if isNew || confirmed.contains(name), !dangling.contains(name) { bindLoaded(attribute) }
                continue
            }
            do {
                let (target, id) = try await find(text, attribute)
                bind(attribute, target, id)
            } catch {
                errors[name] = (error as? FieldsealError)?.message ?? visit.text("lookupNone", ["name": text])
            }
        }
    }

    /// Writes a reference that was not edited. This is needed in a new record, and if the save confirms the reference.
    private mutating func bindLoaded(_ attribute: AttributeDefinition) {
        guard case .lookup(let targets) = attribute.type, targets.count == 1, let target = EntityCatalog.entity(targets[0]),
            let id = visit.form["\(attribute.logicalName)!id"].flatMap(UUID.init(text:))
        else { return }
        bind(attribute, target, id)
    }

    private mutating func bind(_ attribute: AttributeDefinition, _ target: EntityDefinition, _ id: UUID) {
        let property = entity.navigationProperty(of: attribute, to: target.logicalName)
        members.append(.init("\(property)@odata.bind", .string("/\(target.entitySetName)(\(id.text))")))
    }

    /// The typed passwords, sealed for the next attempt. Refused passwords are not kept.
    func kept(_ secrets: KeptSecrets, _ errors: [String: String]) throws -> [String: String] {
        let typed = members.filter { entity[$0.name]?.isEncrypted == true && errors[$0.name] == nil }
        return try typed.reduce(into: [:]) { kept, member in
            if let text = member.value.string { kept[member.name] = try secrets.sealed(text, for: member.name) }
        }
    }
}
