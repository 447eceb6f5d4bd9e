import Fieldseal
import Foundation

// What happened to records: who changed which attributes, from what to what.
extension Console {
    private static let auditPageSize = 50

    @Sendable func audit(_ visit: Visit) async throws -> Reply {
        let session = try visit.session()
        let table = visit.query("table").flatMap { name in Self.sets.first { $0.logicalName == name } }
        let id = visit.query("id").flatMap(UUID.init(text:))
        let page = max(0, min(Int(visit.query("page") ?? "") ?? 0, 10_000))
        var query = RecordQuery()
        let names = ["createdon", "operation", "objectid", "objecttypecode", "useridname", "databaserole", "changedata"]
        query.outputs = names.map { .init(.column(.init($0))) }
        query.order = [.init(.column(.init("createdon")), descending: true)]
        query.pageSize = Self.auditPageSize
        query.offset = page * Self.auditPageSize
        var conditions: [Filter] = []
        if let table { conditions.append(.compare(.init("objecttypecode"), .equal, .text(table.logicalName))) }
        if let id { conditions.append(.compare(.init("objectid"), .equal, .text(id.uuidString))) }
        if !conditions.isEmpty { query.filter = .all(conditions) }
        let found = try await session.list(.audit, query)
        func href(_ page: Int) -> String {
            "\(visit.root)/audit?page=\(page)" + (table.map { "&table=\($0.logicalName)" } ?? "")
                + (id.map { "&id=\($0.uuidString.lowercased())" } ?? "")
        }
        var values: [String: Any] = [
            "title": visit.text("audit"),
            "tables": Self.sets.map { entity -> [String: Any] in
                [
                    "name": entity.logicalName, "text": visit.text(entity.logicalName),
                    "selected": entity.logicalName == table?.logicalName,
                ]
            },
            "rows": try found.records.map { try auditRow($0, visit) },
        ]
        if let id { values["id"] = id.uuidString.lowercased() }
        if page > 0 { values["previous"] = href(page - 1) }
        if found.next != nil { values["next"] = href(page + 1) }
        return .page("audit", values)
    }

    private func auditRow(_ record: Record, _ visit: Visit) throws -> [String: Any] {
        func text(_ name: String) throws -> String {
            switch try record.value(of: name) {
            case .text(let text): text
            case .date(let date): visit.moment(date)
            case .id(let id): id.uuidString.lowercased()
            case .int(let number):
                EntityDefinition.audit[name]?.type.options?.options.first { $0.value == number }?.label ?? "\(number)"
            default: ""
            }
        }
        let name = try text("objecttypecode")
        let entity = EntityCatalog.entity(name)
        let role = try text("databaserole")
        let who = try text("useridname")
        var row: [String: Any] = [
            // A change past the service has no person; then the database's role is who.
            "when": try text("createdon"), "who": who.isEmpty ? role : who, "operation": try text("operation"),
            "record": "\(visit.text(name)) \(try text("objectid"))", "changes": changes(try text("changedata"), entity, visit),
        ]
        if let entity, Self.sets.contains(where: { $0.logicalName == name }), try record.value(of: "operation") != .int(3) {
            row["href"] = "\(visit.root)/records/\(entity.entitySetName)/\(try text("objectid"))"
        }
        return row
    }

    private func passwordChange(_ operation: String, _ visit: Visit) -> String {
        switch operation {
        case "set": visit.text("secretSet")
        case "replaced": visit.text("secretReplaced")
        default: visit.text("secretCleared")
        }
    }

    /// The attributes of `changedata`; for a new record there are many, of which what is not empty is shown.
    private func changes(_ data: String, _ entity: EntityDefinition?, _ visit: Visit) -> [[String: Any]] {
        guard case .array(let items)? = (try? JSONParser.parse(Array(data.utf8)))?["changedAttributes"] else { return [] }
        func text(_ value: JSONValue?) -> String {
            switch value {
            case nil, .null?: "—"
            case .string(let text)?: text
            case .bool(let flag)?: "\(flag)"
            case .integer(let number)?: "\(number)"
            case let other?: String(decoding: other.utf8, as: UTF8.self)
            }
        }
        return items.compactMap { item in
            guard case .string(let name)? = item["logicalName"] else { return nil }
            if let operation = item["operation"]?.string {
                // A password: its value is in no audit.
                return ["label": entity?[name]?.displayName ?? name, "change": passwordChange(operation, visit)]
            }
            return [
                "label": entity?[name]?.displayName ?? name, "before": text(item["oldValue"]), "after": text(item["newValue"]),
            ]
        }
    }
}
