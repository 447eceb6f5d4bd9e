import Fieldseal
import Foundation
import HTTPTypes

// Lists and forms of records, drawn from the entities' metadata.
extension Console {
    private static let pageSize = 25

    private func entity(_ visit: Visit) throws(FieldsealError) -> EntityDefinition {
        guard let entity = visit.parameter("set").flatMap(EntityCatalog.entity(set:)),
            (Self.sets + Self.shownSets).contains(where: { $0.logicalName == entity.logicalName })
        else { throw FieldsealError(.noResource, "There is nothing at this address.") }
        return entity
    }

    private func columns(_ entity: EntityDefinition) -> [AttributeDefinition] {
        let names =
            switch entity.logicalName {
            case "mailbox": ["name", "emailaddress", "incomingemailstatus", "outgoingemailstatus", "modifiedon"]
            case "emailserverprofile": ["name", "incomingserverlocation", "outgoingserverlocation", "modifiedon"]
            case "queue": ["name", "emailaddress", "modifiedon"]
            case "email": ["subject", "sender", "torecipients", "statuscode", "createdon"]
            case "tracelog": ["text", "level", "tracecode", "modifiedon"]
            default: ["emailusername", "systemuserid", "modifiedon"]
            }
        return names.compactMap { entity[$0] }
    }

    // MARK: Lists

    @Sendable func list(_ visit: Visit) async throws -> Reply {
        let entity = try entity(visit)
        let session = try visit.session()
        let columns = columns(entity)
        let q = String((visit.query("q") ?? "").prefix(100))
        let page = max(0, min(Int(visit.query("page") ?? "") ?? 0, 10_000))
        let sort = visit.query("sort") ?? ""
        let isDescending = sort.hasPrefix("-")
        let key = columns.first { $0.logicalName == sort.trimmingPrefix("-") } ?? columns[0]
        var query = RecordQuery()
        query.outputs = columns.map { .init(.column(.init($0.logicalName))) }
        query.order = [.init(.column(.init(key.logicalName)), descending: isDescending)]
        query.pageSize = Self.pageSize
        query.offset = page * Self.pageSize
        if !q.isEmpty {
            let texts = columns.filter { if case .string = $0.type { true } else { false } }
            query.filter = .any(texts.map { .like(.init($0.logicalName), .holding(q)) })
        }
        let found = try await session.list(entity, query)
        func href(page: Int, sort: String) -> String {
            var parts = ["page=\(page)"]
            if !sort.isEmpty { parts.append("sort=\(sort)") }
            if !q.isEmpty { parts.append("q=\(q.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "")") }
            return "\(visit.root)/records/\(entity.entitySetName)?\(parts.joined(separator: "&"))"
        }
        var values: [String: Any] = [
            "title": visit.text(entity.logicalName), "set": entity.entitySetName, "q": q,
            "mayCreate": !isShownOnly(entity) && PrivilegeTable.depth(of: .create, on: entity, for: session.caller.role) != .none,
            "columns": columns.map { column -> [String: Any] in
                let isSorted = column.logicalName == key.logicalName
                let next = isSorted && !isDescending ? "-\(column.logicalName)" : column.logicalName
                var value: [String: Any] = ["text": column.displayName, "href": href(page: 0, sort: next)]
                if isSorted { value["sorted"] = isDescending ? "descending" : "ascending" }
                return value
            },
            "rows": try found.records.map { record -> [String: Any] in
                [
                    "cells": try columns.enumerated().map { index, column -> [String: Any] in
                        let text = try shown(record.value(of: column.logicalName), column, visit)
                        guard index == 0 else { return ["text": text] }
                        return [
                            "text": text.isEmpty ? record.id.uuidString.lowercased() : text,
                            "href": "\(visit.root)/records/\(entity.entitySetName)/\(record.id.uuidString.lowercased())",
                        ]
                    }
                ]
            },
        ]
        if page > 0 { values["previous"] = href(page: page - 1, sort: sort) }
        if found.next != nil { values["next"] = href(page: page + 1, sort: sort) }
        if let done = visit.query("done"), ["saved", "deleted"].contains(done) { values["notice"] = visit.text(done) }
        return .page("list", values)
    }

    private func shown(_ value: AttributeValue, _ attribute: AttributeDefinition, _ visit: Visit) -> String {
        switch value {
        case .null, .bytes: ""
        case .text(let text), .decimal(let text): text
        case .int(let number): attribute.type.options?.options.first { $0.value == number }?.label ?? "\(number)"
        case .bool(let flag): visit.text(flag ? "yes" : "no")
        case .date(let date): visit.moment(date)
        case .id(let id): id.uuidString.lowercased()
        }
    }

    // MARK: Forms

    /// What a form takes: what the person's role may write, as far as a person would.
    private func fields(_ visit: Visit, _ entity: EntityDefinition, for use: AttributeDefinition.Uses) -> [AttributeDefinition] {
        let role = visit.signed?.session.caller.role ?? .basicUser
        let first = [
            "name", "emailaddress", "username", "emailusername", "incomingserverlocation", "incomingusername",
            "outgoingserverlocation", "outgoingusername",
        ]
        func place(_ attribute: AttributeDefinition) -> Int {
            attribute.isEncrypted ? first.count : first.firstIndex(of: attribute.logicalName) ?? first.count + 1
        }
        let fields = entity.attributes.filter { attribute in
            guard attribute.validFor.contains(use), attribute.logicalName != entity.primaryID,
                PrivilegeTable.mayWrite(attribute.logicalName, of: entity, role)
            else { return false }
            switch attribute.type {
            case .string, .picklist, .boolean, .integer: return true
            case .memo(let length): return length <= 4_000
            default: return false
            }
        }
        // What one looks for comes first; the rest in the order of the metadata.
        return fields.enumerated().sorted { (place($0.element), $0.offset) < (place($1.element), $1.offset) }.map(\.element)
    }

    private func isShownOnly(_ entity: EntityDefinition) -> Bool {
        Self.shownSets.contains { $0.logicalName == entity.logicalName }
    }

    /// What a record that has no form holds, as far as a person wants to know.
    private func shownValues(_ visit: Visit, _ entity: EntityDefinition, _ record: Record) throws -> [String: Any] {
        let rows = try entity.attributes.compactMap { attribute -> [String: Any]? in
            switch attribute.type {
            case .lookup, .owner, .uniqueIdentifier, .entityName, .bigInt, .image: return nil
            default: break
            }
            let text = try shown(record.value(of: attribute.logicalName), attribute, visit)
            guard !text.isEmpty, attribute.type.isWorthShowing(text, visit) else { return nil }
            return ["label": attribute.displayName, "value": text]
        }
        var values = formValues(visit, entity, record: record, isSet: [], typed: nil)
        values["rows"] = rows
        return values
    }

    @Sendable func form(_ visit: Visit) async throws -> Reply {
        let entity = try entity(visit)
        if isShownOnly(entity) {
            guard visit.parameter("id") != "new" else { throw FieldsealError.noSuchRecord(entity) }
            return .page("record", try shownValues(visit, entity, try await read(visit, entity).0))
        }
        if visit.parameter("id") == "new" {
            _ = try visit.session()
            return .page("form", formValues(visit, entity, record: nil, isSet: [], typed: nil))
        }
        let (record, isSet) = try await read(visit, entity)
        return .page("form", formValues(visit, entity, record: record, isSet: isSet, typed: nil))
    }

    private func read(_ visit: Visit, _ entity: EntityDefinition) async throws -> (Record, Set<String>) {
        guard let id = visit.parameter("id").flatMap(UUID.init(text:)) else { throw FieldsealError.noSuchRecord(entity) }
        let session = try visit.session()
        let page = try await session.retrieve(entity, .id(id))
        guard let record = page.records.first else { throw FieldsealError.noSuchRecord(entity) }
        return (record, try await session.secretsSet(entity, id))
    }

    private func formValues(
        _ visit: Visit, _ entity: EntityDefinition, record: Record?, isSet: Set<String>, typed: [String: String]?,
        errors: [String: String] = [:], kept: [String: String] = [:]
    ) -> [String: Any] {
        let path = record.map { $0.id.uuidString.lowercased() } ?? "new"
        let name = record.flatMap { record in entity.primaryName.flatMap { try? record.value(of: $0) } }
        var title = visit.text("new")
        if let record {
            title = record.id.uuidString.lowercased()
            if case .text(let text)? = name, !text.isEmpty { title = text }
        }
        let role = visit.signed?.session.caller.role ?? .basicUser
        var values: [String: Any] = [
            "title": title, "set": entity.entitySetName, "action": "\(visit.root)/records/\(entity.entitySetName)/\(path)",
            "version": record.map { "\($0.versionNumber)" } ?? "",
            "mayDelete": record != nil && PrivilegeTable.depth(of: .delete, on: entity, for: role) != .none,
        ]
        values["fields"] = fields(visit, entity, for: record == nil ? .create : .update).map { attribute -> [String: Any] in
            let current = record.flatMap { try? $0.value(of: attribute.logicalName) } ?? attribute.defaultValue ?? .null
            let typedText = typed?[attribute.logicalName]
            var field: [String: Any] = ["name": attribute.logicalName, "label": attribute.displayName]
            field["error"] = errors[attribute.logicalName]
            if attribute.isEncrypted {
                field["isSecret"] = true
                field["isSet"] = isSet.contains(attribute.logicalName)
                field["state"] = visit.text(isSet.contains(attribute.logicalName) ? "isSet" : "isNotSet")
                if let sealed = kept[attribute.logicalName] {
                    field["kept"] = sealed
                    field["state"] = visit.text("isKept")
                }
                field["clears"] = typed?["\(attribute.logicalName)!clear"] != nil
                return field
            }
            let raw: String =
                switch current {
                case .text(let text): text
                case .int(let number): "\(number)"
                case .bool(let flag): flag ? "true" : "false"
                default: ""
                }
            let value = typedText ?? raw
            field["value"] = value
            switch attribute.type {
            case .string(let length):
                field["isText"] = true
                field["length"] = length
                field["required"] = attribute.logicalName == entity.primaryName
            case .memo: field["isMemo"] = true
            case .integer: field["isNumber"] = true
            default:
                field["isChoice"] = true
                var options = [("", "—")]
                if case .boolean = attribute.type {
                    options = [("true", visit.text("yes")), ("false", visit.text("no"))]
                    if value.isEmpty { options.insert(("", "—"), at: 0) }
                } else {
                    options += (attribute.type.options?.options ?? []).map { ("\($0.value)", $0.label) }
                }
                field["options"] = options.map { ["value": $0.0, "text": $0.1, "selected": $0.0 == value] as [String: Any] }
            }
            return field
        }
        return values
    }

    @Sendable func save(_ visit: Visit) async throws -> Reply {
        let entity = try entity(visit)
        guard !isShownOnly(entity) else { throw FieldsealError(.noResource, "There is nothing at this address.") }
        let session = try visit.session()
        let isNew = visit.parameter("id") == "new"
        let current = isNew ? nil : try await read(visit, entity)
        let secrets = try KeptSecrets(
            deployment.kek, organization: session.organization.id, entity: entity, record: current?.0.id, token: visit.token ?? "")
        let (members, errors) = members(visit, entity, isNew: isNew, secrets)
        func kept(_ errors: [String: String]) throws -> [String: String] {
            let typed = members.filter { entity[$0.name]?.isEncrypted == true && errors[$0.name] == nil }
            return try typed.reduce(into: [:]) { kept, member in
                if let text = member.value.string { kept[member.name] = try secrets.sealed(text, for: member.name) }
            }
        }
        func again(_ errors: [String: String], problem: String?, _ status: HTTPResponse.Status) throws -> Reply {
            var values = formValues(
                visit, entity, record: current?.0, isSet: current?.1 ?? [], typed: visit.form, errors: errors,
                kept: try kept(errors))
            values["problem"] = problem
            return .page("form", values, status: status)
        }
        guard errors.isEmpty else { return try again(errors, problem: nil, .badRequest) }
        do {
            if isNew {
                try await session.write(.create(entity, members))
            } else if let (record, _) = current {
                let version = Int64(visit.form["version"] ?? "") ?? 0
                try await session.write(.upsert(entity, .id(record.id), members, .version(version)))
            }
            return .redirect("\(visit.root)/records/\(entity.entitySetName)?done=saved")
        } catch let error as FieldsealError where error.code == .concurrencyVersionMismatch {
            guard let (record, isSet) = try? await read(visit, entity) else { throw error }
            var values = formValues(visit, entity, record: record, isSet: isSet, typed: visit.form, kept: try kept([:]))
            values["conflict"] = true
            values["changes"] = try fields(visit, entity, for: .update).filter { !$0.isEncrypted }.compactMap {
                attribute -> [String: Any]? in
                let text = shown(try record.value(of: attribute.logicalName), attribute, visit)
                let typed = visit.form[attribute.logicalName] ?? ""
                let isSame: Bool =
                    switch try record.value(of: attribute.logicalName) {
                    case .int(let number): typed == "\(number)"
                    case .bool(let flag): typed == "\(flag)"
                    default: typed == text
                    }
                return isSame ? nil : ["label": attribute.displayName, "value": text]
            }
            return .page("form", values, status: .conflict)
        } catch let error as FieldsealError where error.code.httpStatus < 500 {
            // The message names the attribute; it stands at its field.
            let field = fields(visit, entity, for: isNew ? .create : .update).first { error.message.contains($0.logicalName) }
            return try again(
                field.map { [$0.logicalName: error.message] } ?? [:], problem: field == nil ? error.message : nil,
                .init(code: error.code.httpStatus))
        }
    }

    /// The form's values as a client would send them: those that a person typed, and passwords only where they typed or cleared one,
    /// now or at an attempt that could not be saved.
    private func members(_ visit: Visit, _ entity: EntityDefinition, isNew: Bool, _ secrets: KeptSecrets)
        -> ([JSONValue.Member], [String: String])
    {
        var members: [JSONValue.Member] = []
        var errors: [String: String] = [:]
        for attribute in fields(visit, entity, for: isNew ? .create : .update) {
            guard let text = visit.form[attribute.logicalName] else { continue }
            let name = attribute.logicalName
            if attribute.isEncrypted {
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
                continue
            }
            switch attribute.type {
            case .boolean: if !text.isEmpty { members.append(.init(name, .bool(text == "true"))) }
            case .integer, .picklist:
                if text.isEmpty {
                    if !isNew, attribute.required != .system { members.append(.init(name, .null)) }
                } else if let number = Int64(text) {
                    members.append(.init(name, .integer(number)))
                } else {
                    errors[name] = "\(attribute.displayName): 0–9"
                }
            default:
                if !text.isEmpty {
                    members.append(.init(name, .string(text)))
                } else if !isNew, attribute.required != .system {
                    members.append(.init(name, .null))
                }
            }
        }
        return (members, errors)
    }

    @Sendable func delete(_ visit: Visit) async throws -> Reply {
        let entity = try entity(visit)
        guard let id = visit.parameter("id").flatMap(UUID.init(text:)) else { throw FieldsealError.noSuchRecord(entity) }
        let version = Int64(visit.form["version"] ?? "") ?? 0
        try await visit.session().write(.delete(entity, .id(id), .version(version)))
        return .redirect("\(visit.root)/records/\(entity.entitySetName)?done=deleted")
    }
}

extension AttributeType {
    /// A flag that is not set says nothing.
    fileprivate func isWorthShowing(_ text: String, _ visit: Visit) -> Bool {
        if case .boolean = self { text == visit.text("yes") } else { true }
    }
}
