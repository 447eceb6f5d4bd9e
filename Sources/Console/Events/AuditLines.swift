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

    /// The database role of the service. It also writes without a person, for example what the router reports.
    private static let serviceRole = "fieldseal_service"

    func lines(_ records: [Record]) async throws -> [[String: Any]] {
        var references: [String: Set<UUID>] = [:]
        for record in records {
            if case .text(let entity) = try record.value(of: "objecttypecode"), case .id(let id) = try record.value(of: "objectid")
            {
                references[entity, default: []].insert(id)
            }
            for change in try changes(record) {
                for value in [change.before, change.after] {
                    guard let id = value?.string.flatMap(UUID.init(text:)) else { continue }
                    for target in try entity(record)?[change.name]?.type.targets ?? [] {
                        references[target, default: []].insert(id)
                    }
                }
            }
        }
        let names = try await RecordNames(references, session)
        let former = try formerNames(records)
        return try records.map { try line($0, names, former) }
    }

    /// The names in the entries themselves, for records that are there no more. The newest entry stands first.
    private func formerNames(_ records: [Record]) throws -> [UUID: String] {
        var names: [UUID: String] = [:]
        for record in records {
            guard let primary = try entity(record)?.primaryName, case .id(let id) = try record.value(of: "objectid"),
                names[id] == nil, let change = try changes(record).first(where: { $0.name == primary })
            else { continue }
            names[id] = [change.after?.string, change.before?.string].compactMap { $0 }.first { !$0.isEmpty }
        }
        return names
    }

    private func entity(_ record: Record) throws -> EntityDefinition? {
        guard case .text(let name) = try record.value(of: "objecttypecode") else { return nil }
        return EntityCatalog.entity(name)
    }

    private func changes(_ record: Record) throws -> [Change] {
        guard case .text(let data) = try record.value(of: "changedata"),
            case .array(let items)? = (try? JSONParser.parse(Array(data.utf8)))?["changedAttributes"]
        else { return [] }
        return items.compactMap { item in
            guard let name = item["logicalName"]?.string else { return nil }
            return Change(name: name, before: item["oldValue"], after: item["newValue"], operation: item["operation"]?.string)
        }
    }

    private func line(_ record: Record, _ names: RecordNames, _ former: [UUID: String]) throws -> [String: Any] {
        func text(_ name: String) throws -> String { if case .text(let text) = try record.value(of: name) { text } else { "" } }
        guard case .date(let moment) = try record.value(of: "createdon"), case .id(let id) = try record.value(of: "objectid"),
            case .int(let operation) = try record.value(of: "operation")
        else { return [:] }
        let entity = try entity(record)
        let role = try text("databaserole")
        let person = try text("useridname")
        let all = try changes(record)
        let shown = all.filter { change in
            isWorthShowing(change, operation) && !isNameOfAnother(change.name, among: all, entity)
        }
        // Of the many values of a new record, only its password is mentioned.
        let labels = shown.filter { operation == 2 || $0.operation != nil }.map { change in
            let label = label(change.name, entity)
            return change.operation.map { texts.labelled(label, visit.text("secret:\($0)")) } ?? label
        }
        let isPage = operation != 3 && Navigation.sets.contains { $0.logicalName == entity?.logicalName }
        let style: String = operation == 1 ? "good" : operation == 3 ? "bad" : ""
        let who: String =
            !person.isEmpty
            ? ActorName.shown(systemUser: person, texts)
            : role == Self.serviceRole ? visit.text("byTheService") : visit.text("pastTheService", ["role": role])
        let href: String? = isPage ? entity.map { "\(visit.root)/records/\($0.entitySetName)/\(id.text)" } : nil
        let summary: String? = labels.isEmpty ? nil : labels.prefix(4).joined(separator: ", ") + (labels.count > 4 ? " …" : "")
        let entityText: String = entity.map { visit.text("entity:\($0.logicalName)") } ?? ""
        return [
            "when": texts.time(moment), "operation": visit.text("operation:\(operation)"),
            // A change by SQL has no person, so the database's role is shown.
            "style": style, "who": who, "entity": entityText, "name": names[id] ?? former[id] ?? id.text, "href": orFalse(href),
            "summary": orFalse(summary),
            "changes": shown.map { change -> [String: Any] in
                [
                    "label": label(change.name, entity), "isNew": operation == 1,
                    "secret": orFalse(change.operation.map { visit.text("secret:\($0)") }),
                    "before": momentOrText(change.before, change.name, entity, names),
                    "after": momentOrText(change.after, change.name, entity, names),
                ]
            },
        ]
    }

    /// Whether an attribute has the name of a lookup that changed as well, such as `emailserverprofilename`.
    private func isNameOfAnother(_ name: String, among changes: [Change], _ entity: EntityDefinition?) -> Bool {
        changes.contains { change in
            entity?[change.name]?.type.isReference == true && ["name", "yominame", "type"].contains { name == change.name + $0 }
        }
    }

    /// For a new record, the given values; for a change, the readable ones.
    private func isWorthShowing(_ change: Change, _ operation: Int64) -> Bool {
        if change.operation != nil { return true }
        // The flag repeats the password's own line.
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

    /// The values of the template `moment`.
    private func momentOrText(
        _ value: JSONValue?, _ name: String, _ entity: EntityDefinition?, _ names: RecordNames
    ) -> [String: Any] {
        if case .dateTime? = entity?[name]?.type, let date = value?.string.flatMap(ISO8601.date) {
            return ["time": texts.time(date)]
        }
        return ["time": false, "text": self.value(value, name, entity, names)]
    }

    /// A value in the form of its attribute: an option's label, a record's name.
    private func value(_ value: JSONValue?, _ name: String, _ entity: EntityDefinition?, _ names: RecordNames) -> String {
        let attribute = entity?[name]
        switch value {
        case nil, .null?: return "—"
        case .string(let text)?:
            if let id = UUID(text: text) { return names[id] ?? text }
            // A router's report has words in the reader's language.
            return text.isEmpty ? "—" : name == "lastsyncerror" ? texts.toldReport(text) : text
        case .bool(let flag)?: return visit.text(flag ? "yes" : "no")
        case .integer(let number)?: return attribute.map { texts.option(number, of: $0) } ?? "\(number)"
        case let other?: return String(decoding: other.utf8, as: UTF8.self)
        }
    }
}
