import Foundation
import JSON
import Model
import Records
import Tenancy

/// A record's form: its fields with the record's values or the typed ones.
struct RecordForm {
    let visit: Visit
    let entity: EntityDefinition
    /// The record that the form is for; nil for a new record.
    let record: Record?
    /// The marks of the encrypted attributes that have a value.
    let secrets: [String: String]
    let names: RecordNames
    /// Names that lookups offer, by attribute.
    let offers: [String: [String]]

    /// The version and the values that the page had loaded before the form was sent. A form that is shown again keeps this version
    /// and these values, so that the next attempt finds what another person saved meanwhile.
    var sent: (version: String, loaded: String)?
    /// The typed values; nil before the form is sent.
    var typed: [String: String]?
    var errors: [String: String] = [:]
    /// New passwords, sealed for the next attempt.
    var kept: [String: String] = [:]
    /// Whether another person deleted the record meanwhile. The form then makes a new record, if the person may create one.
    var isDeleted = false
    /// Fields that another person changed too, but to different values.
    var contested: Set<String> = []

    private var texts: Texts { visit.texts }
    private func isSet(_ name: String) -> Bool { secrets[name] != nil }
    private var path: String { record.map { $0.id.text } ?? "new" }
    private var use: AttributeDefinition.Operations { record == nil ? .create : .update }

    /// The attributes in a form: those that the person's role may write and that people usually edit.
    static func fields(_ entity: EntityDefinition, for use: AttributeDefinition.Operations, _ roles: RoleSet)
        -> [AttributeDefinition]
    {
        let layout = RecordLayout.of(entity).fields
        return entity.attributes.filter { attribute in
            guard attribute.validFor.contains(use), attribute.logicalName != entity.primaryID,
                PrivilegeTable.mayWrite(attribute.logicalName, of: entity, roles)
            else { return false }
            switch attribute.type {
            // A person who may create a record may choose its owner. Choosing another owner later needs the right to assign.
            case .owner where use == .update && PrivilegeTable.depth(of: .assign, on: entity, for: roles) == .none: return false
            case .string, .picklist, .boolean, .integer: return true
            case .memo(let length): return length <= 4_000
            case .lookup, .owner, .dateTime: return layout.contains(attribute.logicalName)
            default: return false
            }
        }
    }

    /// The owner of a record, for a person who may read it and not change it.
    static func shownOwner(_ entity: EntityDefinition, _ roles: RoleSet) -> AttributeDefinition? {
        guard let owner = entity["ownerid"], RecordLayout.of(entity).fields.contains(owner.logicalName),
            PrivilegeTable.depth(of: .assign, on: entity, for: roles) == .none
        else { return nil }
        return owner
    }

    /// A field's text for a record's value. A field that was not edited sends this text back.
    static func text(_ value: AttributeValue, _ names: RecordNames, _ texts: Texts) -> String {
        switch value {
        case .null, .bytes: ""
        case .text(let text), .decimal(let text): text
        case .int(let number): "\(number)"
        case .bool(let flag): "\(flag)"
        case .date(let date): String(ISO8601.text(date).prefix(10))
        case .id(let id): names.shown(id, texts)
        }
    }

    /// The values of the fields before anything is typed. An encrypted attribute has its mark as the value.
    func loaded() throws -> [String: String] {
        try Self.fields(entity, for: use, visit.roles).reduce(into: [:]) { texts, attribute in
            if attribute.isEncrypted {
                texts[attribute.logicalName] = secrets[attribute.logicalName] ?? ""
                return
            }
            let value =
                try record.map { try $0.value(of: attribute.logicalName) } ?? attribute.defaultValue
                ?? (preset(attribute) ?? attribute.initialOption).map { .int($0) } ?? .null
            texts[attribute.logicalName] = Self.text(value, names, self.texts)
        }
    }

    /// The usual options of a new server profile. The service accepts a profile without these options, and uses POP3 for it.
    private static let presets: [String: Int64] = [
        "servertype": 4, "incomingauthenticationprotocol": 0, "incomingcredentialretrieval": 0,
        "outgoingauthenticationprotocol": 0, "outgoingcredentialretrieval": 0,
    ]

    private func preset(_ attribute: AttributeDefinition) -> Int64? {
        entity === EntityDefinition.emailServerProfile ? Self.presets[attribute.logicalName] : nil
    }

    /// Whether a person has to choose one of the options.
    static func needsOption(_ attribute: AttributeDefinition) -> Bool {
        attribute.type.options != nil && attribute.required == .application
    }

    /// The fields that refer to deleted records.
    func dangling() throws -> Set<String> {
        guard let record else { return [] }
        return try Set(
            Self.fields(entity, for: use, visit.roles).map(\.logicalName).filter { name in
                if case .id(let id) = try record.value(of: name) { names.missing.contains(id) } else { false }
            })
    }

    var title: String {
        guard let record else { return visit.text("new:\(entity.logicalName)") }
        if entity.logicalName == "usersettings", let name = names.named(record.id, texts) { return name }
        if let primary = entity.primaryName, case .text(let text)? = try? record.value(of: primary), !text.isEmpty { return text }
        return visit.text("unnamed")
    }

    func values() throws -> [String: Any] {
        let loaded = try loaded()
        let fields = Self.fields(entity, for: use, visit.roles)
        let layout = RecordLayout.of(entity)
        let inSections = Set(layout.fields)
        func shown(_ names: [String]) throws -> [[String: Any]] {
            try names.compactMap { name in try fields.first { $0.logicalName == name }.map { try field($0, loaded, isRaw: false) } }
        }
        let sections = try layout.sections.compactMap { section -> [String: Any]? in
            let fields = try shown(section.fields) + shownOwner(in: section)
            guard !fields.isEmpty else { return nil }
            return [
                "title": visit.text(section.title), "fields": fields,
                "help": orFalse(texts.optional("help:\(entity.logicalName).\(section.title.dropFirst(8))")),
            ]
        }
        let raw = try fields.filter { !inSections.contains($0.logicalName) }.map { try field($0, loaded, isRaw: true) }
        let isRawOpen: Bool = raw.contains { ($0["error"] as? String) != nil } || contested.contains { !inSections.contains($0) }
        let mayDelete: Bool = record != nil && Console.may(.delete, entity, visit)
        let version: String = record.map { "\($0.versionNumber)" } ?? ""
        let members = loaded.sorted { $0.key < $1.key }.map { JSONValue.Member($0.key, .string($0.value)) }
        let problems = fields.compactMap { attribute -> [String: Any]? in
            guard let text = errors[attribute.logicalName] else { return nil }
            // If an error begins with the field's label, `text` has only the rest, because the template shows the label before it.
            let label = texts.label(attribute, of: entity)
            let isNamed = text.hasPrefix("\(label) ")
            return [
                "name": attribute.logicalName, "label": label, "isNamed": isNamed,
                "text": isNamed ? String(text.dropFirst(label.count + 1)) : text,
            ]
        }
        var values: [String: Any] = [
            "title": title, "set": entity.entitySetName, "list": visit.text(entity.logicalName), "isNew": record == nil,
            "action": "\(visit.root)/records/\(entity.entitySetName)/\(path)",
            "version": sent?.version ?? version,
            "loaded": sent?.loaded ?? String(decoding: JSONValue.object(members).utf8, as: UTF8.self),
            "sections": sections, "raw": raw, "hasRaw": !raw.isEmpty,
            "isRawOpen": isRawOpen, "mayDelete": mayDelete, "hasErrors": !errors.isEmpty, "errors": problems,
            "errorsTitle": texts.count("errorsTitle", errors.count), "status": false, "shared": false, "conflict": false,
            "question": false,
            "once": record == nil ? FormRecordIDs.text() : "",
        ]
        values["belongs"] = orFalse(
            Console.belongingChoice(entity, isNew: record == nil, typed: typed?["belongs"], visit).map { ["choices": $0] })
        values["withoutMailbox"] = orFalse(withoutMailbox)
        if let record { values["links"] = links(record) } else { values["links"] = false }
        values["pending"] = orFalse(pending)
        values["maySave"] = !isDeleted || Console.may(.create, entity, visit)
        return values
    }

    /// The action whose button sent this form. The action waits until the form is saved: the page shows a button that saves the
    /// form and then acts.
    private var pending: [String: Any]? {
        guard let record, entity.logicalName == EntityDefinition.mailbox.logicalName,
            let action = visit.form["do"].flatMap(MailboxAction.init(rawValue:)), action != .profile
        else { return nil }
        let approves = action == .test && visit.form["approves"] == "1"
        let name = ["action": visit.text(approves ? "approveAndTest" : action.text)]
        return [
            "text": visit.text("actionWaits", name), "button": visit.text("saveThen", name), "do": action.rawValue,
            "approves": approves, "action": "\(visit.root)/records/mailboxes/\(record.id.text)/do",
        ]
    }

    /// The owner as a text, in its section of the form, for a person who may not change the owner.
    private func shownOwner(in section: RecordLayout.Section) throws -> [[String: Any]] {
        guard let record, let owner = Self.shownOwner(entity, visit.roles), section.fields.contains(owner.logicalName),
            case .id(let id) = try record.value(of: owner.logicalName)
        else { return [] }
        return [["isShown": true, "label": texts.label(owner, of: entity), "value": names.shown(id, texts)]]
    }

    /// The notice on the page of a queue that has an address and no mailbox; nil for other records.
    private var withoutMailbox: [String: Any]? {
        guard let record, entity.logicalName == EntityDefinition.queue.logicalName,
            case .null? = try? record.value(of: "defaultmailbox"),
            case .text(let address)? = try? record.value(of: "emailaddress"), !address.isEmpty
        else { return nil }
        let mayConnect: Bool = Console.may(.create, .mailbox, visit) && Console.may(.create, .queue, visit)
        return ["connect": orFalse(mayConnect ? "\(visit.root)/connect" : nil)]
    }

    /// The addresses of a record's history, e-mails and alerts.
    private func links(_ record: Record) -> [[String: Any]] {
        var links: [(String, String)] = []
        if entity.logicalName == "mailbox" {
            if Navigation.mayList(.email, visit.roles) { links.append(("linkEmails", "records/emails?of=\(record.id.text)")) }
            if Navigation.mayList(.traceLog, visit.roles) { links.append(("linkAlerts", "records/tracelogs?of=\(record.id.text)")) }
        }
        if entity.logicalName == "queue", Navigation.mayList(.mailbox, visit.roles),
            case .id(let mailbox)? = try? record.value(of: "defaultmailbox")
        {
            links.append(("linkMailbox", "records/mailboxes/\(mailbox.text)"))
        }
        if entity.logicalName == "emailserverprofile" { links.append(("linkMailboxes", "records/mailboxes?of=\(record.id.text)")) }
        if visit.isAdministrator {
            links.append(("linkAudit", "audit?id=\(record.id.text)"))
            links.append(("linkEvents", "events?record=\(record.id.text)"))
        }
        return links.map { ["text": visit.text($0.0), "href": "\(visit.root)/\($0.1)"] }
    }

    /// The first field on the page that has an error. The page puts the focus on this field.
    private var firstError: String? {
        guard !errors.isEmpty else { return nil }
        let fields = Self.fields(entity, for: use, visit.roles).map(\.logicalName)
        return (RecordLayout.of(entity).fields.filter(fields.contains) + fields).first { errors[$0] != nil }
    }

    private func field(_ attribute: AttributeDefinition, _ loaded: [String: String], isRaw: Bool) throws -> [String: Any] {
        let name = attribute.logicalName
        let text = typed?[name] ?? loaded[name] ?? ""
        let isNeeded: Bool =
            !isRaw && (attribute.required != .none && name == entity.primaryName || Self.needsOption(attribute))
        let help: String? = isRaw ? nil : texts.optional("help:\(entity.logicalName).\(name)") ?? texts.optional("help:\(name)")
        var values: [String: Any] = [
            "name": name, "label": texts.label(attribute, of: entity), "isRaw": isRaw,
            "error": orFalse(errors[name]), "isNeeded": isNeeded, "help": orFalse(help),
            "value": text, "isShown": false, "isText": false, "isNumber": false, "isMemo": false, "isChoice": false,
            "isCheck": false,
            "isDate": false,
            "isLookup": false, "isSecret": false, "isWide": false, "isFocused": name == firstError,
        ]
        if attribute.isEncrypted {
            values.merge(secret(attribute)) { _, new in new }
            return values
        }
        switch attribute.type {
        case .memo:
            values["isMemo"] = true
            values["isWide"] = !isRaw
        case .boolean where !isRaw:
            values["isCheck"] = true
            values["isChecked"] = text == "true"
        case .boolean:
            values["isChoice"] = true
            values["options"] = Console.options([("", ""), ("true", visit.text("yes")), ("false", visit.text("no"))], chosen: text)
        case .picklist(let labels):
            values["isChoice"] = true
            let empty = attribute.required == .system || Self.needsOption(attribute) && !text.isEmpty ? [] : [("", "")]
            values["options"] = Console.options(
                empty
                    + labels.options.map {
                        (
                            "\($0.value)",
                            isRaw ? "\($0.value) \(texts.option($0.value, of: attribute))" : texts.option($0.value, of: attribute)
                        )
                    }, chosen: text)
        case .integer:
            values["isNumber"] = true
            let type = typed?["servertype"] ?? loaded["servertype"]
            let isPOP: Bool = name == "incomingportnumber" && ["", "1"].contains(type)
            values["placeholder"] = isPOP ? "995" : texts.optional("placeholder:\(name)") ?? ""
        case .dateTime: values["isDate"] = true
        case .lookup, .owner:
            values["isLookup"] = true
            values["offers"] = offers[name] ?? []
            values["lookup"] = Console.lookupAddress(attribute, visit)
            if let record, case .id(let id)? = try? record.value(of: name) { values["id"] = id.text } else { values["id"] = "" }
        case .string(let length):
            values["isText"] = true
            values["length"] = "\(length)"
        default: break
        }
        return values
    }

    private func secret(_ attribute: AttributeDefinition) -> [String: Any] {
        let name = attribute.logicalName
        let state = kept[name] != nil ? "isKept" : isSet(name) ? "isSet" : "isNotSet"
        return [
            "isSecret": true, "kept": orFalse(kept[name]), "isSet": isSet(name), "state": visit.text(state),
            "stateStyle": kept[name] != nil ? "warn" : isSet(name) ? "good" : "", "clears": typed?["\(name)!clear"] != nil,
            "value": "",
        ]
    }
}
