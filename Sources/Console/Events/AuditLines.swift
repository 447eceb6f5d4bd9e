import Foundation
import JSON
import Model
import Records
import Tenancy

/// Rows of the audit as readable lines: names instead of ids, and values in the form of their attributes.
struct AuditLines {
    private let visit: Visit
    private let session: Session
    private var texts: Texts { visit.texts }

    init(_ visit: Visit, _ session: Session) {
        self.visit = visit
        self.session = session
    }

    /// A change of one attribute.
    private struct Change {
        let name: String
        let before: JSONValue?
        let after: JSONValue?
        /// For a password: whether it was set, replaced or cleared.
        let operation: String?
    }

    /// The service's database role. The service also writes without a person, for example what the router reports.
    private static let serviceRole = "fieldseal_service"

    /// An entry of the audit, with names for its ids.
    private struct Entry {
        let moment: Date
        let operation: Int64
        let id: UUID
        let entity: EntityDefinition?
        let name: String
        let who: String
        let role: String
        /// The changes that are shown.
        let changes: [Change]
    }

    func lines(_ records: [Record]) async throws -> [[String: Any]] {
        let names = try await names(in: records)
        return try entries(records, names).map { line($0, names) }
    }

    // MARK: Export

    /// The columns of an export. The names are the same in each language.
    static let columns = [
        "createdon", "operation", "operationname", "objectid", "objectidname", "objecttypecode", "objecttypecodename", "useridname",
        "databaserole", "attribute", "attributename", "oldvalue", "newvalue",
    ]

    /// The rows of an export: one for each changed attribute. Values are as a page shows them, and dates as in other exports.
    /// An entry without changed attributes has one row.
    func rows(_ records: [Record]) async throws -> [[String]] {
        let names = try await names(in: records)
        return try entries(records, names).flatMap { entry -> [[String]] in
            let facts = [
                ISO8601.text(entry.moment), "\(entry.operation)", visit.text("operation:\(entry.operation)"), entry.id.text,
                entry.name, entry.entity?.logicalName ?? "", entityText(entry), entry.who, entry.role,
            ]
            guard !entry.changes.isEmpty else { return [facts + ["", "", "", ""]] }
            return entry.changes.map { change in
                let secret = change.operation.map { visit.text("secret:\($0)") }
                let values = [change.before, change.after].map { exported($0, change.name, entry.entity, names) }
                return facts + [change.name, label(change.name, entry.entity), values[0], secret ?? values[1]]
            }
        }
    }

    private func exported(
        _ value: JSONValue?, _ name: String, _ entity: EntityDefinition?, _ names: RecordNames
    ) -> String {
        if Self.isEmpty(value) { return "" }
        return date(value, name, entity).map { ISO8601.text($0) } ?? self.value(value, name, entity, names)
    }

    // MARK: Names

    private func names(in records: [Record]) async throws -> RecordNames {
        var references: [String: Set<UUID>] = [:]
        for record in records {
            if case .text(let entity) = try record.value(of: "objecttypecode"), case .id(let id) = try record.value(of: "objectid")
            {
                references[entity, default: []].insert(id)
            }
            for change in try Self.changes(record) {
                for value in [change.before, change.after] {
                    guard let id = value?.string.flatMap(UUID.init(text:)) else { continue }
                    for target in try Self.entity(record)?[change.name]?.type.targets ?? [] {
                        references[target, default: []].insert(id)
                    }
                }
            }
        }
        return try await RecordNames(references, session)
    }

    /// The names in the entries themselves, for records that no longer exist. The newest name of a record is used.
    static func formerNames(_ records: [Record]) throws -> [UUID: String] {
        var names: [UUID: String] = [:]
        for record in records {
            guard let primary = try entity(record)?.primaryName, case .id(let id) = try record.value(of: "objectid"),
                names[id] == nil, let change = try changes(record).first(where: { $0.name == primary })
            else { continue }
            names[id] = [change.after?.string, change.before?.string].compactMap { $0 }.first { !$0.isEmpty }
        }
        return names
    }

    private static func entity(_ record: Record) throws -> EntityDefinition? {
        guard case .text(let name) = try record.value(of: "objecttypecode") else { return nil }
        return EntityCatalog.entity(name)
    }

    private static func changes(_ record: Record) throws -> [Change] {
        guard case .text(let data) = try record.value(of: "changedata"),
            case .array(let items)? = (try? JSONParser.parse(Array(data.utf8)))?["changedAttributes"]
        else { return [] }
        return items.compactMap { item in
            guard let name = item["logicalName"]?.string else { return nil }
            return Change(name: name, before: item["oldValue"], after: item["newValue"], operation: item["operation"]?.string)
        }
    }

    private func entries(_ records: [Record], _ names: RecordNames) throws -> [Entry] {
        let former = try Self.formerNames(records)
        return try records.compactMap { record in
            func text(_ name: String) throws -> String {
                if case .text(let text) = try record.value(of: name) { text } else { "" }
            }
            guard case .date(let moment) = try record.value(of: "createdon"), case .id(let id) = try record.value(of: "objectid"),
                case .int(let operation) = try record.value(of: "operation")
            else { return nil }
            let role = try text("databaserole")
            let person = try text("useridname")
            // A change by SQL has no person, so the database role is shown.
            let who: String =
                !person.isEmpty
                ? ActorName.shown(systemUser: person, texts)
                : role == Self.serviceRole ? visit.text("byTheService") : visit.text("pastTheService", ["role": role])
            let (entity, all) = (try Self.entity(record), try Self.changes(record))
            let shown = all.filter { isWorthShowing($0, operation) && !isNameOfChangedLookup($0.name, among: all, entity) }
            return Entry(
                moment: moment, operation: operation, id: id, entity: entity,
                name: names.named(id, visit.texts) ?? former[id] ?? id.text, who: who, role: role, changes: shown)
        }
    }

    private func entityText(_ entry: Entry) -> String { entry.entity.map { visit.text("entity:\($0.logicalName)") } ?? "" }

    private func line(_ entry: Entry, _ names: RecordNames) -> [String: Any] {
        let (operation, entity) = (entry.operation, entry.entity)
        // A new record has many values, so only its passwords are mentioned. Passwords come first, because a long line is cut.
        let (passwords, others) = (entry.changes.filter { $0.operation != nil }, entry.changes.filter { $0.operation == nil })
        let labels = (passwords + (operation == 2 ? others : [])).map { change in
            let label = label(change.name, entity)
            return change.operation.map { texts.labelled(label, visit.text("secret:\($0)")) } ?? label
        }
        let isPage = operation != 3 && Navigation.sets.contains { $0.logicalName == entity?.logicalName }
        let style: String = operation == 1 ? "good" : operation == 3 ? "bad" : ""
        let href: String? = isPage ? entity.map { "\(visit.root)/records/\($0.entitySetName)/\(entry.id.text)" } : nil
        let summary: String? = labels.isEmpty ? nil : labels.prefix(4).joined(separator: ", ") + (labels.count > 4 ? " …" : "")
        return [
            "when": texts.time(entry.moment), "operation": visit.text("operation:\(operation)"),
            "style": style, "who": entry.who, "entity": entityText(entry), "name": entry.name, "href": orFalse(href),
            "summary": orFalse(summary),
            "changes": entry.changes.map { change -> [String: Any] in
                [
                    "label": label(change.name, entity), "isNew": operation == 1,
                    "secret": orFalse(change.operation.map { visit.text("secret:\($0)") }),
                    "before": momentOrText(change.before, change.name, entity, names),
                    "after": momentOrText(change.after, change.name, entity, names),
                ]
            },
        ]
    }

    /// Whether an attribute only names the record of a lookup that changed as well, such as `emailserverprofilename`.
    private func isNameOfChangedLookup(_ name: String, among changes: [Change], _ entity: EntityDefinition?) -> Bool {
        changes.contains { change in
            entity?[change.name]?.type.isReference == true && ["name", "yominame", "type"].contains { name == change.name + $0 }
        }
    }

    /// Whether a change is shown. For a new or a deleted record, values that are empty, false or zero are left out.
    private func isWorthShowing(_ change: Change, _ operation: Int64) -> Bool {
        if change.operation != nil { return true }
        // The flag only repeats the line about the password.
        if change.name.hasPrefix("is"), change.name.hasSuffix("passwordset") { return false }
        guard operation != 2 else { return true }
        switch operation == 1 ? change.after : change.before {
        case nil, .null?, .bool(false)?, .integer(0)?: return false
        default: return !change.name.hasSuffix("yominame")
        }
    }

    private func label(_ name: String, _ entity: EntityDefinition?) -> String {
        guard let entity, let attribute = entity[name] else { return name }
        return texts.label(attribute, of: entity)
    }

    /// The values of the template `moment`: a date as a time, and any other value as a text.
    private func momentOrText(
        _ value: JSONValue?, _ name: String, _ entity: EntityDefinition?, _ names: RecordNames
    ) -> [String: Any] {
        if let date = date(value, name, entity) { return ["time": texts.time(date)] }
        return ["time": false, "text": self.value(value, name, entity, names)]
    }

    /// The value of an attribute if it is a date.
    private func date(_ value: JSONValue?, _ name: String, _ entity: EntityDefinition?) -> Date? {
        guard case .dateTime? = entity?[name]?.type else { return nil }
        return value?.string.flatMap(ISO8601.date)
    }

    private static func isEmpty(_ value: JSONValue?) -> Bool {
        switch value {
        case nil, .null?, .string("")?: true
        default: false
        }
    }

    /// A text value. What the router and the service wrote is shown in the reader's language.
    private func shown(_ text: String, of name: String, _ entity: EntityDefinition?) -> String {
        let isAlert: Bool = entity?.logicalName == EntityDefinition.traceLog.logicalName
        if name == "errordetails" { return DetailSentences(texts: texts, names: nil).toldOrQuoted(text, of: "") }
        return name == "lastsyncerror" || isAlert && name == "text" ? texts.toldReport(text) : text
    }

    /// A value in the form of its attribute: an option's label, a record's name.
    private func value(_ value: JSONValue?, _ name: String, _ entity: EntityDefinition?, _ names: RecordNames) -> String {
        if Self.isEmpty(value) { return "—" }
        let attribute = entity?[name]
        switch value {
        case .string(let text)?:
            if let id = UUID(text: text) { return names.named(id, texts) ?? text }
            return shown(text, of: name, entity)
        case .bool(let flag)?: return visit.text(flag ? "yes" : "no")
        case .integer(let number)?: return attribute.map { texts.option(number, of: $0) } ?? "\(number)"
        case let other?: return String(decoding: other.utf8, as: UTF8.self)
        case nil: return ""
        }
    }
}
